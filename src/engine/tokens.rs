//! Development tokens: a signing key made once on this machine, its public half for the mesh, and tokens signed with it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde::Serialize;
use serde_json::{Value, json};

use crate::agent::base64;
use crate::catalog::mesh::TokenPolicy;
use crate::failure::{Diagnose, Family};
use crate::profile::Stack;
use crate::render::Origin;
use crate::render::mesh::{IstioApi, MeshSetting, TokenKeys, TokenTrust};

/// File in the state folder.
const NAME: &str = "token-key.pem";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key can't be read or written.
    #[error("can't keep the development token key {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no such key.
    #[error("{} holds no P-256 key: {why}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Signing failed.
    #[error("can't sign a token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl Diagnose for TokenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => Some("check the permissions of .vadev in the workspace".to_owned()),
            Self::Key { path, .. } => Some(format!(
                "delete {} and run vadev up: it makes a new one, and old tokens stop working",
                path.display()
            )),
            Self::Sign(_) => None,
        }
    }
    fn family(&self) -> Family {
        match self {
            Self::Sign(_) => Family::Internal,
            _ => Family::Environment,
        }
    }
}

/// The signing key. Its private half is in no output: no `Debug`.
pub struct TokenKey {
    pem: String,
    id: String,
    point: Vec<u8>,
}

impl TokenKey {
    /// The key of a state folder, made where there is none. Only its owner can read the file.
    pub fn ensure(state: &Path) -> Result<Self, TokenError> {
        if let Some(key) = Self::load(state)? {
            return Ok(key);
        }
        let path = state.join(NAME);
        let trouble = |source| TokenError::File {
            path: path.clone(),
            source,
        };
        let made = KeyPair::generate().map_err(|error| wrong(&path, &error))?;
        fs::create_dir_all(state).map_err(trouble)?;
        let temporary = state.join(format!("{NAME}.{}", std::process::id()));
        let written = write_new(&temporary, &made.serialize_pem());
        // Never over a key that another run has made meanwhile: a link fails where there is one.
        let linked = written.and_then(|()| fs::hard_link(&temporary, &path));
        let removed = fs::remove_file(&temporary);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.and(removed).map_err(trouble)?,
        }
        let missing = || trouble(io::Error::from(io::ErrorKind::NotFound));
        Self::load(state)?.ok_or_else(missing)
    }

    /// The key of a state folder, if it has one.
    pub fn load(state: &Path) -> Result<Option<Self>, TokenError> {
        let path = state.join(NAME);
        let pem = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| TokenError::File {
                path: path.clone(),
                source,
            })?,
        };
        let pair = KeyPair::from_pem(&pem).map_err(|error| wrong(&path, &error))?;
        let point = pair.public_key_raw().to_vec();
        // An uncompressed point: 4, then x and y of 32 bytes each.
        if point.len() != 65 || point[0] != 4 {
            return Err(TokenError::Key {
                path,
                why: "it is on another curve".to_owned(),
            });
        }
        Ok(Some(Self {
            id: crate::agent::digest::hex(&point)[..16].to_owned(),
            pem,
            point,
        }))
    }

    /// The JSON Web Key Set that checks its tokens.
    pub fn key_set(&self) -> String {
        let (x, y) = (url_safe(&self.point[1..33]), url_safe(&self.point[33..]));
        let key = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y });
        json!({ "keys": [key] }).to_string()
    }

    /// Signs a token.
    pub fn sign(&self, policy: &TokenPolicy, stack: &Stack, claims: &Claims) -> Result<Token, TokenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = (now + claims.ttl).as_secs();
        let mut body = json!({
            "iss": issuer(policy, stack),
            "aud": policy.audience,
            "sub": claims.subject,
            "iat": now.as_secs(),
            "exp": expires,
        });
        body[&policy.roles_claim] = json!(claims.roles);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let token = encode(&header, &body, &EncodingKey::from_ec_pem(self.pem.as_bytes())?)?;
        Ok(Token {
            token,
            claims: body,
            expires_at: expires,
        })
    }
}

/// What a development token says.
#[derive(Debug, Clone)]
pub struct Claims {
    /// `sub`.
    pub subject: String,
    /// Roles.
    pub roles: Vec<String>,
    /// How long it is good for.
    pub ttl: Duration,
}

/// A signed token.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// As it goes behind `Authorization: Bearer`.
    pub token: String,
    /// What it says.
    pub claims: Value,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Platforms that share a gateway have keys of their own, and so must have issuers of their own.
fn issuer(policy: &TokenPolicy, stack: &Stack) -> String {
    format!("{}/{}", policy.issuer, stack.namespaces.apps)
}

/// What the mesh's objects depend on, on this machine. `built` are the services that are built here, neighbours' included: what
/// is rendered without one of them takes its rule away. `key` absent: only public paths are served.
pub fn mesh_setting(
    stack: &Stack,
    built: BTreeSet<String>,
    key: Option<&TokenKey>,
    proxies: Option<Origin>,
    api: IstioApi,
) -> MeshSetting {
    let trust = |policy: &TokenPolicy, key: &TokenKey| TokenTrust {
        issuer: issuer(policy, stack),
        audience: policy.audience.clone(),
        keys: TokenKeys::Inline(key.key_set()),
    };
    let policy = stack.mesh.as_ref().map(|mesh| &mesh.policy.tokens);
    MeshSetting {
        tokens: policy.zip(key).map(|(policy, key)| trust(policy, key)),
        istio_filters: proxies == Some(Origin::Registry),
        api,
        hosts: Vec::new(),
        traces_percent: 100,
        built,
    }
}

fn wrong(path: &Path, error: &rcgen::Error) -> TokenError {
    TokenError::Key {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Base64 as JSON Web Keys have it.
fn url_safe(bytes: &[u8]) -> String {
    base64::encode(bytes)
        .replace('+', "-")
        .replace('/', "_")
        .trim_end_matches('=')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;
    use crate::profile::{Selection, Sources, load_all, resolve};

    #[test]
    fn a_token_is_good_for_its_key_set_and_no_other() {
        let policy = TokenPolicy {
            issuer: "i".into(),
            audience: "a".into(),
            roles_claim: "roles".into(),
        };
        let claims = Claims {
            subject: "me".into(),
            roles: vec!["admin".into()],
            ttl: Duration::from_mins(5),
        };
        let loaded = load_all(&Sources::default(), "x").unwrap();
        let (profile, nothing) = (&loaded.profiles["dev"], Selection::default());
        let stack = resolve(&loaded.catalog, profile, &loaded.workspace, &nothing, None).unwrap();
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = TokenKey::ensure(ours.path()).unwrap();
        let token = key.sign(&policy, &stack, &claims).unwrap();
        let check = |set: &str| {
            let set: JwkSet = serde_json::from_str(set).unwrap();
            let key = DecodingKey::from_jwk(&set.keys[0]).unwrap();
            let mut validation = Validation::new(Algorithm::ES256);
            validation.set_audience(&["a"]);
            validation.set_issuer(&["i/voiceassistant-prod"]);
            decode::<Value>(&token.token, &key, &validation)
        };
        let said = check(&TokenKey::ensure(ours.path()).unwrap().key_set()).unwrap();
        assert_eq!(said.claims["roles"], json!(["admin"]));
        assert!(check(&TokenKey::ensure(theirs.path()).unwrap().key_set()).is_err());
    }

    #[test]
    fn only_the_owner_can_read_the_key_and_a_damaged_one_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert!(TokenKey::load(folder.path()).unwrap().is_none());
        TokenKey::ensure(folder.path()).unwrap();
        let file = folder.path().join(NAME);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "nonsense").unwrap();
        let error = TokenKey::load(folder.path()).err().unwrap();
        assert!(error.hint().unwrap().contains("vadev up"), "{error}");
    }
}
