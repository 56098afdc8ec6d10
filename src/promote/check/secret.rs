//! Whether a text states a secret: by the key it stands at, in a URL, or somewhere within a file or a command.

/// Words that say anywhere in a key that its value is to be kept secret. An object store's `ACCESS_KEY` is the name of a user;
/// the key that is secret says so.
const WORDS: [&str; 14] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "PRIVATE_KEY",
    "API_KEY",
    "APIKEY",
    "ACCOUNT_KEY",
    "SHARED_ACCESS_KEY",
    "ENCRYPTION_KEY",
    "SIGNING_KEY",
    "JWT_KEY",
    "CREDENTIAL",
    "REQUIREPASS",
];
/// Words that say so at a key's end only: `TOKEN_TTL` and `SEED_COUNT` are figures.
const LAST: [&str; 5] = ["TOKEN", "SEED", "PASS", "PWD", "PAT"];
/// Words that say anywhere in a key that its value may be secret. Whether it is, the value tells: `PARTITION_KEY` and
/// `TOKEN_AUDIENCE` have names.
const SUSPECT: [&str; 5] = ["TOKEN", "PASS", "PWD", "AUTH", "KEY"];
/// Words of keys whose values everybody may know, however they look.
const KNOWN: [&str; 8] = [
    "PUBLIC",
    "ID",
    "SITE",
    "AUDIENCE",
    "ISSUER",
    "ALGORITHM",
    "HASH",
    "DIGEST",
];
/// Ends of keys whose values are about a secret, and not one.
const ABOUT: [&str; 14] = [
    "FILE",
    "PATH",
    "DIR",
    "NAME",
    "NAMESPACE",
    "REF",
    "TTL",
    "TYPE",
    "POLICY",
    "LENGTH",
    "HEADER",
    "ENABLED",
    "URL",
    "URI",
];

/// Whether a key's value is to be kept secret: `DB_PASSWORD`, `smtp_auth_password`, `signingSeed`, `--requirepass`.
pub fn is_secret_key(key: &str) -> bool {
    let words = words(key);
    let upper = words.join("_");
    let Some(last) = words.last() else { return false };
    if ABOUT.contains(&last.as_str()) {
        return false;
    }
    // Alone, PWD is the working folder.
    let ends = LAST.contains(&last.as_str()) && (last != "PWD" || words.len() > 1);
    ends || WORDS.iter().any(|word| upper.contains(word))
}

/// Whether a key that may hold a secret has a value that looks like one: a login, or letters and digits that are no name.
pub fn is_suspect(key: &str, value: &str) -> bool {
    let words = words(key);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let about = words.last().is_none_or(|last| ABOUT.contains(&last.as_str()));
    if about || !has(&SUSPECT) || has(&KNOWN) || !is_value(value) {
        return false;
    }
    let login = value
        .split_once(':')
        .is_some_and(|(user, password)| has(&["AUTH"]) && !user.is_empty() && !password.starts_with('/'));
    login || (!value.starts_with('/') && value.split(|c: char| "-_.:/ ".contains(c)).any(is_mixed))
}

/// Whether digits stand amid the letters of a word, as in no name: `4f8a2b9c`, and not `partition2024`.
fn is_mixed(word: &str) -> bool {
    let digits: Vec<bool> = word.chars().map(|c| c.is_ascii_digit()).collect();
    word.len() >= 8
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+=!#$%".contains(c))
        && digits.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 2
}

/// The words of a key, whichever way it joins them.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in key.chars() {
        if c.is_ascii_alphanumeric() {
            if lower && c.is_ascii_uppercase() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(c.to_ascii_uppercase());
            }
        } else {
            words.push(String::new());
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value is one: not empty, no reference to a variable, no placeholder, and no figure or switch.
pub fn is_value(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'', ' ']);
    let lower = value.to_lowercase();
    let reference = value.starts_with(['$', '<', '{', '%', '!', '&', '*']);
    let word = matches!(
        lower.as_str(),
        "" | "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "none" | "~"
    );
    !reference && !word
}

/// Whether a value that a key of [`LAST`] has is one: a model's seed and a number of tokens are figures.
pub fn is_value_of(key: &str, value: &str) -> bool {
    let figure = value.trim_matches(['"', '\'']).parse::<f64>().is_ok();
    let last = words(key).pop().unwrap_or_default();
    is_value(value) && !(figure && matches!(last.as_str(), "TOKEN" | "SEED"))
}

/// Whether a URL or a driver's address in the text carries a password: `postgres://user:password@host/db`,
/// `user:password@tcp(host:3306)/db`.
pub fn has_url_with_password(text: &str) -> bool {
    let urls = text.match_indices("://").filter_map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'`,<>|".contains(c));
        // A reference may hold what else would end the authority.
        let authority = &rest[..end.unwrap_or(rest.len())];
        authority.rsplit_once('@').map(|(user, _)| user)
    });
    let addresses = ["@tcp(", "@unix("].iter().flat_map(|mark| {
        let users = text.match_indices(mark).map(|(at, _)| &text[..at]);
        users.filter_map(|before| {
            before
                .rsplit(|c: char| c.is_whitespace() || "\"'`=/".contains(c))
                .next()
        })
    });
    let mut users = urls.chain(addresses);
    users.any(|user| {
        user.split_once(':')
            .is_some_and(|(_, password)| is_value(password))
    })
}

/// The keys that have a secret value in a file's or command's text, with their lines from 1 on: `password: x`,
/// `{"password":"x"}`, `--password=x`, `host=h password=x`, `<password>x</password>`.
pub fn stated(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let begin = line.trim_start();
        // Prose about passwords is no password.
        if begin.starts_with('#') || begin.starts_with("//") || begin.starts_with(';') {
            continue;
        }
        found.extend(in_line(line).into_iter().map(|key| (at + 1, key)));
    }
    found
}

fn in_line(line: &str) -> Vec<String> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_key) {
        let opened = rest[..start].ends_with('<');
        let from = &rest[start..];
        let length = from.find(|c| !is_key(c)).unwrap_or(from.len());
        let (key, after) = from.split_at(length);
        rest = after;
        let after = after.trim_start_matches(['"', '\'']);
        let value = if opened {
            after
                .strip_prefix('>')
                .map(|value| value.split('<').next().unwrap_or_default())
        } else {
            let after = after.trim_start();
            let value = after.strip_prefix(':').or_else(|| after.strip_prefix('='));
            // `://` belongs to a URL, and `==` to an expression.
            value
                .filter(|value| !value.starts_with(['/', '=']))
                .map(first_value)
        };
        // A path is where a secret is, and not the secret.
        if let Some(value) = value
            && (is_secret_key(key) || key.eq_ignore_ascii_case("pwd"))
            && is_value_of(key, value)
            && !value.starts_with('/')
        {
            found.push(key.trim_start_matches('-').to_owned());
        }
    }
    found
}

/// The first value of what follows on a key: a quoted text, or up to where flow collections, queries and commands go on.
fn first_value(text: &str) -> &str {
    let text = text.trim_start();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split(quote).next().unwrap_or_default();
        }
    }
    let end = text.find(|c: char| c.is_whitespace() || ",;&]".contains(c));
    let value = &text[..end.unwrap_or(text.len())];
    // The brace that ends a flow mapping, and not that of a reference.
    if value.contains('{') {
        value
    } else {
        value.trim_end_matches('}')
    }
}

/// The flag in a command's words that is followed by a secret value: `--requirepass x`.
pub fn in_command<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let words: Vec<&str> = words
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_matches(['"', '\'']))
        .collect();
    let pairs = words.windows(2);
    pairs
        .filter(|pair| pair[0].starts_with("--") && !pair[0].contains('='))
        .find(|pair| is_secret_key(pair[0]) && !pair[1].starts_with('-') && is_value_of(pair[0], pair[1]))
        .map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_whether_their_value_is_secret() {
        for key in [
            "DB_PASSWORD",
            "smtp_auth_password",
            "API_TOKEN",
            "SIGNING_SEED",
            "KEY_PASSPHRASE",
            "MINIO_SECRET_KEY",
            "signingSeed",
            "accessToken",
            "--requirepass",
            "DATA_SOURCE_PASS",
            "db-pwd",
            "ENCRYPTION_KEY",
            "JWT_KEY",
            "GITHUB_PAT",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "TOKEN_TTL",
            "CHUNK_TOKENS",
            "TOKENIZER",
            "MINIO_ACCESS_KEY",
            "PASSWORD_FILE",
            "EXISTING_SECRET_NAME",
            "PWD",
            "SEED_COUNT",
            "PASS_THROUGH",
            "PASSWORD_MIN_LENGTH",
            "BYPASS",
            "",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
        assert!(!is_value_of("RANDOM_SEED", "42") && is_value_of("TOKEN_SEED", "4f8a2b"));
        assert!(!is_value("$(DB_PASSWORD)") && !is_value("true") && is_value("hush"));
    }

    #[test]
    fn of_a_key_that_may_be_secret_the_value_tells() {
        for (key, value) in [
            ("TOKEN_PROD", "4f8a2b9c1d"),
            ("STRIPE_KEY", "a1b2c3d4e5f6"),
            ("DB_PASS_MAIN", "hunter2hush3"),
            ("REDISCLI_AUTH", "x9y8z7w6v5"),
            ("BASIC_AUTH", "admin:hush"),
        ] {
            assert!(is_suspect(key, value), "{key}={value}");
        }
        for (key, value) in [
            ("MINIO_ACCESS_KEY", "voiceassistant"),
            ("NACOS_AUTH_IDENTITY_KEY", "vadev"),
            ("TOKEN_AUDIENCE", "a1b2c3d4e5f6"),
            ("TOKEN_KEY", "/etc/keys/a1b2c3d4e5f6"),
            ("PARTITION_KEY", "partition2024"),
            ("CACHE_KEY", "sessions-v2-prod1"),
            ("JWT_PUBLIC_KEY", "a1b2c3d4e5f6"),
            ("AUTH_CLIENT_ID", "a1b2c3d4e5f6"),
            ("AUTH_URL", "https://a1b2c3d4e5f6.example.com"),
            ("AUTH", "scram-sha-256"),
            ("AUTH_ENDPOINT", "https://login.example.com"),
            ("API_KEYS", "a1b2c3d4e5f6"),
            ("BYPASS", "a1b2c3d4e5f6"),
        ] {
            assert!(!is_suspect(key, value), "{key}={value}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_found() {
        for text in [
            "postgres://u:p@h/db",
            "redis://:hush@redis:6379/0",
            "amqp://guest:guest@mq",
            "jdbc and http://a:b@c x",
            "DSN=user:hush@tcp(db:3306)/shop",
        ] {
            assert!(has_url_with_password(text), "{text}");
        }
        for text in [
            "postgres://u@h/db",
            "redis://:$(REDIS_PASSWORD)@redis:6379",
            "postgres://u:${PASSWORD}@h/db",
            "http://jaeger.infra.svc.cluster.local:4317",
            "PLAINTEXT://:9092,CONTROLLER://:9093",
            "http://h:80/a@b:c",
            "user:$(PASSWORD)@tcp(db:3306)/shop",
        ] {
            assert!(!has_url_with_password(text), "{text}");
        }
    }

    #[test]
    fn a_password_in_a_file_or_command_is_found() {
        for text in [
            "global:\n  smtp_auth_password: hush",
            "{\"user\":\"a\",\"password\":\"hush\"}",
            "db: { user: a, password: hush }",
            "--password=hush",
            "-Djavax.net.ssl.keyStorePassword=changeit",
            "host=h user=u password=hush sslmode=disable",
            "jdbc:postgresql://h/db?user=u&password=hush",
            "<password>hush</password>",
            "export API_TOKEN='abc'",
            "Server=db;Uid=sa;Pwd=hush;",
            "Server=db;User Id=sa;Password=hush;Encrypt=True",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hush==;EndpointSuffix=x",
            "Endpoint=sb://a/;SharedAccessKeyName=root;SharedAccessKey=hush",
        ] {
            assert_eq!(stated(text).len(), 1, "{text}");
        }
        for text in [
            "# password: in the vault",
            "password: ${DB_PASSWORD}",
            "password: $__file{/run/secrets/p}",
            "password_file: /run/secrets/p",
            "private_key: /etc/tls/key.pem",
            "<password from_env=\"CLICKHOUSE_PASSWORD\"/>",
            "password: \"\"",
            "{ user: a, password: }",
            "authorization: { credentials_file: /var/run/secrets/token }",
            "see secret://vault/a",
            "max_tokens: 512",
            "PWD=/srv/app",
            "cd $PWD && pwd",
        ] {
            assert_eq!(stated(text), [], "{text}");
        }
        assert_eq!(stated("a: b\npassword: x"), [(2, "password".to_owned())]);
        let command = |words: &[&'static str]| in_command(words.iter().copied());
        assert_eq!(
            command(&["redis-server", "--requirepass", "hush"]),
            Some("--requirepass")
        );
        assert_eq!(
            command(&["sh", "-c", "redis-server --requirepass hush"]),
            Some("--requirepass")
        );
        assert_eq!(
            command(&["redis-server", "--requirepass", "$(REDIS_PASSWORD)"]),
            None
        );
        assert_eq!(command(&["sh", "-c", "redis-server --requirepass \"$P\""]), None);
        assert_eq!(
            command(&["x", "--token-ttl", "1h", "--use-password", "--verbose"]),
            None
        );
    }
}
