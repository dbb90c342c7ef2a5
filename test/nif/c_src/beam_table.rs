// A NIF library that looks the VM's functions up by name and keeps them in a table of its own, as
// Rustler does it: dlopen(NULL), dlsym, a static table.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_uint, c_ulong, c_void};

type Term = usize;
type Nif = extern "C" fn(*mut c_void, c_int, *const Term) -> Term;

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

struct Table {
    alloc: Option<extern "C" fn(usize) -> *mut c_void>,
    free: Option<extern "C" fn(*mut c_void)>,
    get_ulong: Option<extern "C" fn(*mut c_void, Term, *mut c_ulong) -> c_int>,
    make_ulong: Option<extern "C" fn(*mut c_void, c_ulong) -> Term>,
}

static mut VM: Table = Table { alloc: None, free: None, get_ulong: None, make_ulong: None };

unsafe fn fill() {
    let program = dlopen(std::ptr::null(), 1);
    let look = |name: &str| dlsym(program, name.as_ptr() as *const c_char);
    VM.alloc = std::mem::transmute(look("enif_alloc\0"));
    VM.free = std::mem::transmute(look("enif_free\0"));
    VM.get_ulong = std::mem::transmute(look("enif_get_ulong\0"));
    VM.make_ulong = std::mem::transmute(look("enif_make_ulong\0"));
}

unsafe fn number(env: *mut c_void, term: Term) -> c_ulong {
    let mut n: c_ulong = 0;
    VM.get_ulong.unwrap()(env, term, &mut n);
    n
}

extern "C" fn alloc(env: *mut c_void, _argc: c_int, argv: *const Term) -> Term {
    unsafe {
        let p = VM.alloc.unwrap()(number(env, *argv) as usize);
        VM.make_ulong.unwrap()(env, p as c_ulong)
    }
}

extern "C" fn free(env: *mut c_void, _argc: c_int, argv: *const Term) -> Term {
    unsafe {
        VM.free.unwrap()(number(env, *argv) as *mut c_void);
        *argv
    }
}

#[repr(C)]
pub struct Func {
    name: *const c_char,
    arity: c_uint,
    function: Nif,
    flags: c_uint,
}

#[repr(C)]
pub struct Entry {
    major: c_int,
    minor: c_int,
    name: *const c_char,
    num_of_funcs: c_int,
    funcs: *const Func,
    load: *const c_void,
    reload: *const c_void,
    upgrade: *const c_void,
    unload: *const c_void,
    vm_variant: *const c_char,
    options: c_uint,
    sizeof_init: usize,
    min_erts: *const c_char,
}

#[no_mangle]
pub extern "C" fn nif_init() -> *const Entry {
    unsafe { fill() };
    let text = |s: &'static str| s.as_ptr() as *const c_char;
    let funcs = Box::new([
        Func { name: text("alloc\0"), arity: 1, function: alloc, flags: 0 },
        Func { name: text("free\0"), arity: 1, function: free, flags: 0 },
    ]);
    Box::leak(Box::new(Entry {
        major: 2,
        minor: 15,
        name: text(concat!(env!("NIF_MODULE"), "\0")),
        num_of_funcs: 2,
        funcs: Box::leak(funcs).as_ptr(),
        load: std::ptr::null(),
        reload: std::ptr::null(),
        upgrade: std::ptr::null(),
        unload: std::ptr::null(),
        vm_variant: text("beam.vanilla\0"),
        options: 1,
        sizeof_init: 24,
        min_erts: text("erts-11.0\0"),
    }))
}
