//! What a database is beside what is in it: its owner, encoding, grants and settings, and the roles that it speaks of. A dump
//! of one database leaves all of it out.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::operate::error::OperateError;

/// Settings whose value is a list of names, as PostgreSQL's own source lists them. Quoted as one text they would be one name.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// A database without its tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Properties {
    /// The role that owns it.
    pub owner: String,
    /// For instance `UTF8`.
    pub encoding: String,
    /// How text is sorted.
    pub collate: String,
    /// What is a letter.
    pub ctype: String,
    /// Who sorts: `c` the C library, `i` ICU, `b` PostgreSQL itself; servers before 15 don't say.
    pub provider: Option<String>,
    /// The provider's own locale, where it is not the C library.
    pub locale: Option<String>,
    /// Clients at once; -1 is any number.
    pub connections: i64,
    /// Who may do what; `None` is what every new database has.
    pub grants: Option<Vec<Grant>>,
    /// Settings for everybody or one role in this database.
    pub settings: Vec<Setting>,
    /// Every role that something in it belongs to or is granted to.
    pub roles: Vec<String>,
}

/// One privilege.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The role; `None` is everybody.
    pub to: Option<String>,
    /// For instance `CONNECT`.
    pub privilege: String,
    /// Whether it may be passed on.
    pub grantable: bool,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// The role; `None` is everybody.
    pub role: Option<String>,
    /// For instance `search_path`.
    pub name: String,
    /// As the server stores it.
    pub value: String,
}

/// SQL that prints the [`Properties`] of a database; nothing where it is not there. Columns that only some versions have are
/// read through JSON.
pub fn ask(database: &str) -> String {
    format!(
        "SELECT jsonb_build_object('owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding), \
         'collate', d.datcollate, 'ctype', d.datctype, 'provider', to_jsonb(d) ->> 'datlocprovider', \
         'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), 'connections', d.datconnlimit, \
         'grants', CASE WHEN d.datacl IS NOT NULL THEN (SELECT coalesce(jsonb_agg(jsonb_build_object(\
         'to', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, 'privilege', a.privilege_type, \
         'grantable', a.is_grantable)), '[]') FROM aclexplode(d.datacl) a) END, \
         'settings', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', r.rolname, 'name', split_part(line, '=', 1), \
         'value', substr(line, strpos(line, '=') + 1))), '[]') FROM pg_db_role_setting s \
         LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) line WHERE s.setdatabase = d.oid), \
         'roles', (SELECT coalesce(jsonb_agg(r.rolname ORDER BY r.rolname), '[]') FROM pg_roles r WHERE r.rolname !~ '^pg_' \
         AND (r.oid IN (10, d.datdba) \
         OR EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole = r.oid) \
         OR EXISTS (SELECT FROM pg_shdepend p WHERE p.refclassid = 'pg_authid'::regclass AND p.refobjid = r.oid \
         AND (p.dbid = d.oid OR (p.classid = 'pg_database'::regclass AND p.objid = d.oid)))))) \
         FROM pg_database d WHERE d.datname = {};\n",
        literal(database)
    )
}

/// The answer to [`ask`].
pub fn read(answer: &str) -> Result<Option<Properties>, OperateError> {
    if answer.trim().is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_str(answer);
    read.map(Some)
        .map_err(|error| OperateError::unreadable("psql's answer", format!("{error}: {answer}")))
}

/// SQL that prints which of these roles are missing; empty where none is asked about.
pub fn ask_missing(roles: &[String]) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let rows: Vec<String> = roles.iter().map(|role| format!("({})", literal(role))).collect();
    format!(
        "SELECT name FROM (VALUES {}) AS wanted (name) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name);\n",
        rows.join(", ")
    )
}

/// SQL that makes roles which can own and be granted things, and can't log in: passwords are in no backup.
pub fn make_roles<'a>(missing: impl IntoIterator<Item = &'a str>) -> String {
    missing.into_iter().fold(String::new(), |sql, role| {
        format!("{sql}CREATE ROLE {} NOLOGIN;\n", quoted(role))
    })
}

impl Properties {
    /// SQL that makes an empty database which sorts and encodes as this one.
    pub fn create(&self, name: &str) -> String {
        let locale = |word: &str| {
            let locale = self.locale.as_deref().map(literal);
            locale.map_or(String::new(), |locale| format!(" {word} {locale}"))
        };
        let provider = match self.provider.as_deref() {
            Some("c") => " LOCALE_PROVIDER libc".to_owned(),
            Some("i") => format!(" LOCALE_PROVIDER icu{}", locale("ICU_LOCALE")),
            Some("b") => format!(" LOCALE_PROVIDER builtin{}", locale("BUILTIN_LOCALE")),
            _ => String::new(),
        };
        format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{provider};\n",
            quoted(name),
            literal(&self.encoding),
            literal(&self.collate),
            literal(&self.ctype)
        )
    }

    /// SQL that gives a database what only it has: owner, grants, settings.
    pub fn dress(&self, name: &str) -> String {
        let (name, owner) = (quoted(name), quoted(&self.owner));
        let mut sql = format!("ALTER DATABASE {name} OWNER TO {owner};\n");
        // Writing to a string can't fail.
        if self.connections >= 0 {
            let _ = writeln!(
                sql,
                "ALTER DATABASE {name} CONNECTION LIMIT {};",
                self.connections
            );
        }
        if let Some(grants) = &self.grants {
            let _ = writeln!(sql, "REVOKE ALL ON DATABASE {name} FROM PUBLIC, {owner};");
            for grant in grants {
                let to = grant.to.as_deref().map_or("PUBLIC".to_owned(), quoted);
                let more = if grant.grantable { " WITH GRANT OPTION" } else { "" };
                let _ = writeln!(sql, "GRANT {} ON DATABASE {name} TO {to}{more};", grant.privilege);
            }
        }
        for setting in &self.settings {
            let whose = setting
                .role
                .as_deref()
                .map_or(format!("DATABASE {name}"), |role| {
                    format!("ROLE {} IN DATABASE {name}", quoted(role))
                });
            let value = if LISTS.contains(&setting.name.as_str()) {
                let names: Vec<String> = split(&setting.value).iter().map(|one| literal(one)).collect();
                names.join(", ")
            } else {
                literal(&setting.value)
            };
            let _ = writeln!(sql, "ALTER {whose} SET {} TO {value};", quoted(&setting.name));
        }
        sql
    }
}

/// The names of a list as the server stores it: `"$user", public`.
fn split(list: &str) -> Vec<String> {
    let (mut names, mut name, mut inside) = (Vec::new(), String::new(), false);
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if inside && letters.peek() == Some(&'"') => name.extend(letters.next()),
            '"' => inside = !inside,
            ',' if !inside => names.push(std::mem::take(&mut name)),
            blank if !inside && blank.is_whitespace() => {}
            other => name.push(other),
        }
    }
    names.push(name);
    names
}

/// A name in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub fn literal(text: &str) -> String {
    // A backslash means itself only where the server is set so, and always with this prefix doubled.
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
