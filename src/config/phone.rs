//! `[phone]`: which telephone carriers bring calls, and who answers them.

use std::net::SocketAddr;

use models::remote::Secret;
use serde::{Deserialize, Serialize};
use web::phone::{Agent, Carrier};

use super::checked::Auth;
use super::{ConfigError, Environment};

/// The variable that holds the token where none is named.
const TOKEN: &str = "TIMBRE_PHONE_TOKEN";
/// The variable that Twilio's own tools read.
const TWILIO_TOKEN: &str = "TWILIO_AUTH_TOKEN";
/// A shorter token can be tried out.
const SHORTEST_TOKEN: usize = 16;

/// `[phone]`, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Phone {
    /// Names of carriers: `twilio`, `telnyx`, `signalwire`, `plivo`, `vonage`, `exotel`, `jambonz`, `asterisk`.
    pub bridges: Vec<String>,
    /// Address and port for Asterisk's AudioSocket; empty: none.
    pub audiosocket: String,
    /// Where carriers reach this server, `https://voice.example.org`.
    pub public_url: String,
    /// The variable that holds what carriers must know; absent: `TIMBRE_PHONE_TOKEN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// The variable that holds the auth token of the Twilio account; absent: `TWILIO_AUTH_TOKEN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twilio_auth_token_env: Option<String>,
    /// Model or router that answers; empty: `default_model`.
    pub model: String,
    /// Its instructions; empty: the server's own.
    pub instructions: String,
    /// The voice that speaks; empty: `voice.voice`.
    pub voice: String,
    /// What is said first, word for word; empty: the caller speaks first.
    pub greeting: String,
    /// Whether keys are heard in the sound, and not in the carrier's events.
    pub in_band_keys: bool,
}

/// `[phone]`, checked.
#[derive(Clone, Debug)]
pub struct PhoneConfig {
    /// Whose calls come in over `/phone/{carrier}`.
    pub carriers: Vec<Carrier>,
    /// Where AudioSocket is listened for.
    pub audiosocket: Option<SocketAddr>,
    /// Where carriers reach this server; without a slash at its end.
    pub public_url: String,
    /// What carriers must know.
    pub token: Option<Secret>,
    /// What Twilio signs with.
    pub twilio_token: Option<Secret>,
    /// Who answers.
    pub agent: Agent,
    /// Whether keys are heard in the sound.
    pub in_band_keys: bool,
}

impl Phone {
    /// Checks names, addresses and tokens. `None`: no telephone calls are taken.
    pub(super) fn check(&self, auth: &Auth, environment: &Environment) -> Result<Option<PhoneConfig>, ConfigError> {
        let carriers = self.bridges.iter().map(|name| carrier(name)).collect::<Result<Vec<_>, _>>()?;
        let audiosocket = match self.audiosocket.as_str() {
            "" => None,
            written => Some(written.parse().map_err(|_| {
                ConfigError::new(format!(
                    "phone.audiosocket: {written:?} is not an address with a port, for instance \"127.0.0.1:9092\"; \"\" turns it off"
                ))
            })?),
        };
        if carriers.is_empty() && audiosocket.is_none() {
            return Ok(None);
        }
        let public_url = self.public_url.trim_end_matches('/').to_owned();
        let has_webhook = |carrier: &Carrier| carrier.document("", &[]).is_some();
        let is_url = public_url.starts_with("https://") || public_url.starts_with("http://");
        if !is_url && (!public_url.is_empty() || carriers.iter().any(has_webhook)) {
            let message = "phone.public_url: must say where carriers reach this server, for instance \"https://voice.example.org\"";
            return Err(ConfigError::new(message));
        }
        let token = secret("token_env", self.token_env.as_deref(), TOKEN, environment)?;
        let twilio_token = secret("twilio_auth_token_env", self.twilio_auth_token_env.as_deref(), TWILIO_TOKEN, environment)?;
        if token.as_ref().is_some_and(|token| token.reveal().len() < SHORTEST_TOKEN) {
            return Err(ConfigError::new(format!("phone.token_env: the token must have at least {SHORTEST_TOKEN} characters")));
        }
        // Whoever is reached from outside must be able to tell a carrier from anybody else.
        let is_public = public_url.starts_with("https://") || matches!(auth, Auth::Keys(_));
        let is_guarded = |carrier: &Carrier| token.is_some() || (*carrier == Carrier::Twilio && twilio_token.is_some());
        if let Some(open) = carriers.iter().find(|carrier| is_public && !is_guarded(carrier)) {
            let variables = if *open == Carrier::Twilio { format!("{TWILIO_TOKEN} or {TOKEN}") } else { TOKEN.to_owned() };
            return Err(ConfigError::new(format!(
                "phone.bridges: {:?} could be called by anybody; set the variable {variables} (phone.token_env names another one)",
                open.name()
            )));
        }
        let agent = Agent {
            model: self.model.clone(),
            instructions: self.instructions.clone(),
            voice: self.voice.clone(),
            greeting: self.greeting.clone(),
        };
        Ok(Some(PhoneConfig { carriers, audiosocket, public_url, token, twilio_token, agent, in_band_keys: self.in_band_keys }))
    }
}

fn carrier(name: &str) -> Result<Carrier, ConfigError> {
    let known: Vec<&str> = Carrier::ALL.into_iter().filter(|carrier| *carrier != Carrier::Audiosocket).map(Carrier::name).collect();
    if let Some(carrier) = Carrier::named(name).filter(|_| known.contains(&name)) {
        return Ok(carrier);
    }
    let meant = match Carrier::named(name) {
        Some(_) => "write phone.audiosocket = \"127.0.0.1:9092\" instead".to_owned(),
        None => {
            let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known)).copied().unwrap_or_default();
            format!("did you mean {nearest:?}?")
        }
    };
    Err(ConfigError::new(format!("phone.bridges: there is no bridge {name:?}; {meant} Known are {}", known.join(", "))))
}

/// What the variable holds; one that is named must be set.
fn secret(key: &str, named: Option<&str>, usual: &str, environment: &Environment) -> Result<Option<Secret>, ConfigError> {
    let variable = named.unwrap_or(usual);
    let set = environment.iter().find(|(name, value)| name == variable && !value.is_empty());
    match (set, named) {
        (Some((_, value)), _) => Ok(Some(Secret::new(value))),
        (None, None | Some("")) => Ok(None),
        (None, Some(_)) => {
            Err(ConfigError::new(format!("phone.{key}: the variable {variable} is not set; set it, or name another one here")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, variables: &[(&str, &str)], expected: Result<Option<(usize, bool)>, &str>) {
        let environment: Vec<(String, String)> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let checked = toml::from_str::<Phone>(text).expect("it is valid").check(&Auth::Open, &environment);
        match (checked, expected) {
            (Ok(config), Ok(expected)) => {
                assert_eq!(config.map(|config| (config.carriers.len(), config.audiosocket.is_some())), expected, "{text}");
            }
            (Err(error), Err(start)) => assert!(error.to_string().starts_with(start), "{text}: {error}"),
            (checked, expected) => panic!("{text}: {checked:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn bridges_have_names_an_address_and_something_to_be_known_by() {
        let twilio = "bridges = [\"twilio\"]\npublic_url = \"https://voice.example.org/\"";
        let telnyx = "bridges = [\"telnyx\"]\npublic_url = \"https://voice.example.org\"";
        let token = (TOKEN, "0123456789abcdef");
        check("", &[], Ok(None));
        check(twilio, &[(TWILIO_TOKEN, "t")], Ok(Some((1, false))));
        check(telnyx, &[token], Ok(Some((1, false))));
        check("bridges = [\"telnyx\"]\npublic_url = \"http://127.0.0.1:8080\"", &[], Ok(Some((1, false))));
        check("bridges = [\"asterisk\"]", &[], Ok(Some((1, false))));
        check("audiosocket = \"127.0.0.1:9092\"", &[], Ok(Some((0, true))));
        check(twilio, &[], Err("phone.bridges: \"twilio\" could be called by anybody; set the variable TWILIO_AUTH_TOKEN or"));
        check(telnyx, &[(TWILIO_TOKEN, "t")], Err("phone.bridges: \"telnyx\" could be called by anybody"));
        check(telnyx, &[(TOKEN, "short")], Err("phone.token_env: the token must have"));
        check("bridges = [\"twilio\"]", &[], Err("phone.public_url"));
        check("bridges = [\"twillio\"]", &[], Err("phone.bridges: there is no bridge \"twillio\"; did you mean \"twilio\"?"));
        check("bridges = [\"audiosocket\"]", &[], Err("phone.bridges: there is no bridge \"audiosocket\"; write phone.audiosocket"));
        check("audiosocket = \"9092\"", &[], Err("phone.audiosocket"));
        check(&format!("{twilio}\ntoken_env = \"OTHER\""), &[], Err("phone.token_env: the variable OTHER is not set"));
    }
}
