use super::*;

#[test]
fn names_beside_are_short() {
    assert!(beside(&"x".repeat(100), "new").len() < 63);
}

#[test]
fn no_database_is_renamed_from_within() {
    assert_eq!(maintenance("voiceassistant"), "postgres");
    assert_ne!(maintenance("postgres"), "postgres");
}
