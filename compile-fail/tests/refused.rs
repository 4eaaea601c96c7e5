//! Each program in `cases/` is refused by the compiler, for the reason that its `.stderr` file shows.
//!
//! Compilers word their messages anew now and then. With [`WORDED_BY`] they are compared word by word; with any other the error codes are. After an update of
//! the compiler: `TRYBUILD=overwrite cargo test --manifest-path compile-fail/Cargo.toml`, and a look at what has changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The compiler whose words are in the `.stderr` files.
const WORDED_BY: &str = "1.95";
/// Tells the test that it is its own child, and in which folder to leave what the compiler says.
const COPY: &str = "RINGMILL_COMPILE_FAIL_COPY";

fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("there is a compiler").stdout;
    String::from_utf8_lossy(&version).into_owned()
}

fn cases(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path());
    let mut found: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    found
}

/// The error codes of a compiler's output, in order.
fn codes(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("error")).map(|line| line.split(':').next().unwrap_or(line)).collect()
}

#[test]
fn what_must_not_compile_is_refused_for_its_reason() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    if let Some(copy) = env::var_os(COPY) {
        return trybuild::TestCases::new().compile_fail(Path::new(&copy).join("*.rs"));
    }
    if env::var_os("TRYBUILD").is_none() {
        assert_eq!(cases(&own, "rs").len(), cases(&own, "stderr").len(), "each case has its reason");
    }
    let compiler = compiler();
    if compiler.starts_with(&format!("rustc {WORDED_BY}.")) {
        return trybuild::TestCases::new().compile_fail("cases/*.rs");
    }
    println!("{compiler} words its errors in its own way: their codes are compared");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases");
    fs::create_dir_all(&copy).expect("the folder can be made");
    for case in cases(&own, "rs") {
        fs::copy(&case, copy.join(case.file_name().expect("a file has a name"))).expect("a case can be copied");
    }
    let itself = env::current_exe().expect("a test has a file");
    let status = Command::new(itself).env(COPY, &copy).env("TRYBUILD", "overwrite").status().expect("it can be run");
    assert!(status.success(), "a case compiles");
    for reason in cases(&own, "stderr") {
        let said = fs::read_to_string(copy.join(reason.file_name().expect("a file has a name"))).expect("each case was refused");
        let wanted = fs::read_to_string(&reason).expect("reasons are UTF-8");
        assert_eq!(codes(&said), codes(&wanted), "{}\n{said}", reason.display());
    }
}

#[test]
fn codes_are_told_apart() {
    assert_eq!(codes("error[E0277]: `Rc` cannot\n --> a\nerror: lifetime may\nnote: error"), ["error[E0277]", "error"]);
}
