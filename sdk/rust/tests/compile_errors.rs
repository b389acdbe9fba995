//! What the compiler says to an author about code that is no transform.

#[test]
fn errors_name_what_is_supported_instead() {
    trybuild::TestCases::new().compile_fail("tests/compile_errors/*.rs");
}
