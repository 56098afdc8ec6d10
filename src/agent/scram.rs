//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), as `PostgreSQL` asks for it.

use std::hash::{BuildHasher, RandomState};

use sha2::{Digest, Sha256};

use super::base64;

/// A hostile server must not keep the CPU busy.
const MOST_ITERATIONS: u32 = 100_000;

/// One login.
pub struct Client {
    password: String,
    nonce: String,
    expected: Option<String>,
}

impl Client {
    /// Starts a login with a new nonce.
    pub fn new(password: &str) -> Self {
        // Unique is what the protocol asks of the client's nonce; the standard library's hash keys are random.
        let random = [(); 3].map(|()| RandomState::new().hash_one(0u8).to_be_bytes());
        let nonce = super::digest::to_hex(random.as_flattened());
        Self {
            password: password.to_owned(),
            nonce,
            expected: None,
        }
    }

    /// The first message. The user's name is left empty: `PostgreSQL` takes it from the start-up message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's challenge.
    pub fn reply(&mut self, challenge: &str) -> Result<String, String> {
        let nonce = attribute(challenge, "r=").ok_or("challenge without nonce")?;
        if !nonce.starts_with(&self.nonce) {
            return Err("challenge for another login".into());
        }
        let salt = attribute(challenge, "s=")
            .and_then(base64::decode)
            .ok_or("challenge without salt")?;
        let iterations: u32 = attribute(challenge, "i=")
            .and_then(|i| i.parse().ok())
            .ok_or("challenge without iterations")?;
        if !(1..=MOST_ITERATIONS).contains(&iterations) {
            return Err(format!("challenge asks for {iterations} iterations"));
        }
        let salted = salted_password(self.password.as_bytes(), &salt, iterations);
        let client_key = hmac(&salted, &[b"Client Key"]);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.first_bare());
        let signature = hmac(&Sha256::digest(client_key).into(), &[signed.as_bytes()]);
        let mut proof = client_key;
        proof.iter_mut().zip(signature).for_each(|(a, b)| *a ^= b);
        let server_key = hmac(&salted, &[b"Server Key"]);
        self.expected = Some(base64::encode(&hmac(&server_key, &[signed.as_bytes()])));
        Ok(format!("{without_proof},p={}", base64::encode(&proof)))
    }

    /// Whether the server knows the password too.
    pub fn verify(&self, last: &str) -> Result<(), String> {
        if attribute(last, "v=") == self.expected.as_deref() && self.expected.is_some() {
            return Ok(());
        }
        Err("the server does not know the password".into())
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}

/// PBKDF2 with one block, which is all that SCRAM uses.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let key = key_block(password);
    let mut block = hmac_with(&key, &[salt, &1u32.to_be_bytes()]);
    let mut result = block;
    for _ in 1..iterations {
        block = hmac_with(&key, &[&block]);
        result.iter_mut().zip(block).for_each(|(a, b)| *a ^= b);
    }
    result
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    hmac_with(&key_block(key), parts)
}

/// HMAC-SHA-256 (RFC 2104) of a message.
#[cfg(feature = "cli")]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    hmac_with(&key_block(key), &[message])
}

fn key_block(key: &[u8]) -> [u8; 64] {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    block
}

fn hmac_with(key: &[u8; 64], parts: &[&[u8]]) -> [u8; 32] {
    let mut inner = Sha256::new_with_prefix(key.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    Sha256::new_with_prefix(key.map(|byte| byte ^ 0x5c))
        .chain_update(inner.finalize())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3, with the user's name that the RFC uses left out of the comparison: the salted password and
    /// HMAC are what can be wrong.
    #[test]
    fn salts_as_the_rfc() {
        let salt = base64::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt, 4096);
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signed = format!("{bare},{challenge},{last}");
        let server = hmac(&hmac(&salted, &[b"Server Key"]), &[signed.as_bytes()]);
        assert_eq!(
            base64::encode(&server),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn refuses_a_challenge_for_another_login() {
        let mut client = Client::new("x");
        assert!(client.reply("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").is_err());
        assert!(client.verify("v=").is_err());
    }
}
