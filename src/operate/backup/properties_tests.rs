use super::*;

const ANSWER: &str = r#"{"ctype": "C.UTF-8", "owner": "app", "roles": ["app", "o'reader"], "grants": [
    {"to": null, "privilege": "CONNECT", "grantable": false}, {"to": "o'reader", "privilege": "CREATE", "grantable": true}],
    "locale": null, "collate": "C.UTF-8", "encoding": "UTF8", "provider": "c", "connections": 20, "settings": [
    {"name": "search_path", "role": null, "value": "\"$user\", app, \"odd, \"\"name\""},
    {"name": "app.tenant", "role": "o'reader", "value": "it's \\ here"}]}"#;

fn properties() -> Properties {
    read(ANSWER).unwrap().unwrap()
}

#[test]
fn names_are_quoted() {
    assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    assert_eq!(literal("it's"), "'it''s'");
    assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
}

#[test]
fn a_database_is_made_as_it_was() {
    assert_eq!(
        properties().create("new"),
        "CREATE DATABASE \"new\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' \
         LOCALE_PROVIDER libc;\n"
    );
    let icu = Properties {
        provider: Some("i".into()),
        locale: Some("de-DE".into()),
        ..properties()
    };
    assert!(
        icu.create("new")
            .ends_with(" LOCALE_PROVIDER icu ICU_LOCALE 'de-DE';\n")
    );
    let old = Properties {
        provider: None,
        ..properties()
    };
    assert!(old.create("new").ends_with("LC_CTYPE 'C.UTF-8';\n"));
}

#[test]
fn owner_grants_and_settings_come_back() {
    let sql = properties().dress("new");
    let lines: Vec<&str> = sql.lines().collect();
    assert_eq!(
        lines,
        [
            r#"ALTER DATABASE "new" OWNER TO "app";"#,
            r#"ALTER DATABASE "new" CONNECTION LIMIT 20;"#,
            r#"REVOKE ALL ON DATABASE "new" FROM PUBLIC, "app";"#,
            r#"GRANT CONNECT ON DATABASE "new" TO PUBLIC;"#,
            r#"GRANT CREATE ON DATABASE "new" TO "o'reader" WITH GRANT OPTION;"#,
            r#"ALTER DATABASE "new" SET "search_path" TO '$user', 'app', 'odd, "name';"#,
            r#"ALTER ROLE "o'reader" IN DATABASE "new" SET "app.tenant" TO E'it''s \\ here';"#,
        ]
    );
    let plain = Properties {
        connections: -1,
        grants: None,
        settings: Vec::new(),
        ..properties()
    };
    assert_eq!(plain.dress("new").lines().count(), 1);
}

#[test]
fn an_empty_list_stays_one() {
    assert_eq!(split("\"\""), [""]);
    assert_eq!(split("a, b"), ["a", "b"]);
}

#[test]
fn missing_roles_are_made_without_login() {
    assert_eq!(ask_missing(&[]), "");
    assert!(ask_missing(&properties().roles).contains("(VALUES ('app'), ('o''reader'))"));
    assert_eq!(
        make_roles(["a", "b"]),
        "CREATE ROLE \"a\" NOLOGIN;\nCREATE ROLE \"b\" NOLOGIN;\n"
    );
}

#[test]
fn what_is_not_there_has_no_properties() {
    assert_eq!(read("\n").unwrap(), None);
    assert!(read("ERROR").is_err());
}
