// A box that nobody frees, below a panic that somebody catches.
#[inline(never)]
fn leak_in_rust(size: usize) -> *mut u8 {
    let mut bytes = Vec::<u8>::with_capacity(size); // the line of the leak
    let p = bytes.as_mut_ptr();
    std::mem::forget(bytes);
    p
}

mod deep {
    pub struct Leaker<T>(pub T);
    impl<T: Copy + Into<u64>> Leaker<T> {
        #[inline(never)]
        pub fn leak(&self) -> *mut u8 {
            let size = Into::<u64>::into(self.0) as usize;
            let p = std::hint::black_box(super::leak_in_rust(size));
            if p.is_null() {
                panic!("no memory");
            }
            p
        }
    }
}

#[no_mangle]
pub extern "C" fn fixture_leak(size: u64) -> *mut u8 {
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| panic!("as often"));
    assert!(caught.is_err());
    deep::Leaker(size).leak()
}
