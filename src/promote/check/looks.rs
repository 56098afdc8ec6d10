//! Credentials that are known by their looks, wherever they stand: tokens of well-known services, headers, keys in Base64.

use super::secret::is_value;

/// How the tokens of well-known services begin.
const TOKENS: [&str; 26] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxa-",
    "xoxb-",
    "xoxe-",
    "xoxp-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "hvs.",
    "npm_",
    "dop_v1_",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "sk-proj-",
    "sk-ant-",
    "whsec_",
];
/// The least length of a token: shorter words begin so by chance.
const TOKEN_LENGTH: usize = 16;
/// Addresses that let in whoever knows them.
const ADDRESSES: [&str; 2] = ["hooks.slack.com/services/", "discord.com/api/webhooks/"];
/// `-----BEGIN ` in Base64, and how it goes on for what may be known: `CERT…` and `PUBL…`.
const BASE64_PEM: &str = "LS0tLS1CRUdJTi";
const PUBLIC_PEMS: [&str; 2] = ["BDRVJU", "BQVUJM"];

/// Whether a text has such credentials.
pub fn has_credentials(text: &str) -> bool {
    let separators = |c: char| c.is_whitespace() || "\"'`,;=".contains(c);
    let words: Vec<&str> = text.split(separators).filter(|word| !word.is_empty()).collect();
    let long = |word: &str| word.len() >= TOKEN_LENGTH && is_value(word);
    let parts = words
        .iter()
        .flat_map(|word| word.split(|c: char| ":/?&@()[]{}<>|".contains(c)));
    let scheme = |word: &str| word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
    words.iter().any(|word| is_private_pem(word))
        || parts.filter(|part| long(part)).any(is_token)
        || ADDRESSES.iter().any(|address| text.contains(address))
        || words.windows(2).any(|pair| scheme(pair[0]) && long(pair[1]))
}

fn is_private_pem(word: &str) -> bool {
    let key = word.find(BASE64_PEM).map(|at| &word[at + BASE64_PEM.len()..]);
    key.is_some_and(|rest| !PUBLIC_PEMS.iter().any(|public| rest.starts_with(public)))
}

fn is_token(word: &str) -> bool {
    let plain = |text: &str, least: usize| {
        text.len() >= least
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    let parts: Vec<&str> = word.split('.').collect();
    let in_parts = match parts.as_slice() {
        ["SG", id, key] => plain(id, 16) && plain(key, 16),
        [head, body, sign] => head.starts_with("eyJ") && plain(head, 10) && plain(body, 2) && plain(sign, 2),
        _ => false,
    };
    let of_openai = word
        .strip_prefix("sk-")
        .is_some_and(|rest| rest.len() >= 20 && rest.chars().all(|c| c.is_ascii_alphanumeric()));
    in_parts || of_openai || TOKENS.iter().any(|begin| word.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_looks() {
        for text in [
            "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
            "Basic dXNlcjpwYXNzd29yZA==",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "key: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo=",
            concat!("sk_li", "ve_51H8xYzAbCdEfGhIjKlMnOp"),
            "a:sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8t",
            "sk-Ab3dEf6hIj9kLm2nOp5qRs8tUv",
            concat!(
                "https://maps.example.com/api?key=AIza",
                "SyA1234567890abcdefghijklmnopqrstuv"
            ),
            concat!("SG.abcdefghijklmnop", ".qrstuvwxyz0123456789"),
            concat!("xoxe-", "123456789012-abcdefghij"),
            concat!("https://hooks.slack.com/", "services/T000/B000/XXXX"),
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        ] {
            assert!(has_credentials(text), "{text}");
        }
        for text in [
            "Authorization: Bearer $(TOKEN)",
            "a bearer of news",
            "Basic functionality",
            "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==",
            "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0K",
            "AKIA",
            "sk-learn-pipelines-for-everybody",
            "eyJ.a.b",
            "SG.size.large",
            "https://hooks.slack.com/docs",
        ] {
            assert!(!has_credentials(text), "{text}");
        }
    }
}
