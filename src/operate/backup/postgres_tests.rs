use super::*;

#[test]
fn names_are_quoted_and_short() {
    assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    assert_eq!(literal("it's"), "'it''s'");
    assert!(beside(&"x".repeat(100), "new").len() < 63);
}
