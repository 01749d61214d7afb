//! Who may open a call: Twilio's signatures of requests, and tickets that our own answer to a webhook gives to the stream that follows it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Whether `signature` is Twilio's for a request to `url` with these form fields (twilio.com/docs/usage/security): HMAC-SHA1 over the URL and
/// the fields, sorted by name, keyed with the account's auth token. Compared in constant time.
pub(super) fn is_twilios(token: &str, signature: &str, url: &str, fields: &[(String, String)]) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    hmac::verify(&key(token), signed(url, fields).as_bytes(), &signature).is_ok()
}

/// What a ticket vouches for: this call, from and to these numbers.
pub(super) fn ticket(secret: &str, call: &str, caller: Option<&str>, callee: Option<&str>) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &vouched(call, caller, callee));
    STANDARD.encode(tag)
}

/// Whether `ticket` was given to this call.
pub(super) fn is_ticket(secret: &str, ticket: &str, call: &str, caller: Option<&str>, callee: Option<&str>) -> bool {
    let Ok(ticket) = STANDARD.decode(ticket) else { return false };
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &vouched(call, caller, callee), &ticket).is_ok()
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes())
}

fn signed(url: &str, fields: &[(String, String)]) -> String {
    let mut fields: Vec<&(String, String)> = fields.iter().collect();
    fields.sort();
    fields.dedup();
    fields.into_iter().fold(url.to_owned(), |text, (name, value)| text + name + value)
}

fn vouched(call: &str, caller: Option<&str>, callee: Option<&str>) -> Vec<u8> {
    // Each with its length, so that no two sets of them read the same.
    let fields = ["timbre call", call, caller.unwrap_or_default(), callee.unwrap_or_default()];
    fields.iter().flat_map(|field| [&(field.len() as u64).to_be_bytes()[..], field.as_bytes()].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// The example of Twilio's own documentation.
    #[test]
    fn twilios_example_is_twilios() {
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let posted = fields(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ]);
        let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        assert!(is_twilios("12345", signature, url, &posted));
        let turned: Vec<_> = posted.iter().rev().cloned().collect();
        assert!(is_twilios("12345", signature, url, &turned));
        assert!(!is_twilios("12346", signature, url, &posted));
        assert!(!is_twilios("12345", signature, "https://mycompany.com/", &posted));
        assert!(!is_twilios("12345", signature, url, &posted[1..]));
        for wrong in ["", "RSOYDt4T1cUTdK1PDd93/VVr8B", "!", "AAAA"] {
            assert!(!is_twilios("12345", wrong, url, &posted), "{wrong}");
        }
    }

    #[test]
    fn a_ticket_is_for_one_call() {
        let given = ticket("secret", "CA1", Some("+1"), None);
        assert!(is_ticket("secret", &given, "CA1", Some("+1"), None));
        assert!(!is_ticket("secret", &given, "CA1", None, Some("+1")));
        assert!(!is_ticket("secret", &given, "CA2", Some("+1"), None));
        assert!(!is_ticket("other", &given, "CA1", Some("+1"), None));
        assert!(!is_ticket("secret", "", "CA1", Some("+1"), None));
    }
}
