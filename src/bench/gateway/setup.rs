//! The configuration of a server that is measured as a gateway: no local model, a key, a router with a rule of five clauses for each model
//! of the mock providers, and for each fault a router that falls back on a healthy provider.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::faults::FAULTS;

/// The key of every caller.
pub(super) const KEY: &str = "sk-bench-0123456789abcdef";
/// What stands before a model's name where a rule chooses it.
pub(super) const ROUTED: &str = "timbre/rule-";
/// Models that a rule chooses.
const MODELS: [&str; 3] = ["ok", "f50", "big"];
/// A rule over request facts that holds for what the load sends.
const RULE: &str = "request.words < 50000 && request.messages < 20 && request.tools == 0 && user.startsWith('user-') && \
                    metadata.tier == 'premium'";

/// The file. A target has `patience` to its first content, and may pause as long.
pub fn keys(upstream: SocketAddr, patience: Duration) -> String {
    let patience = format!("{}ms", patience.as_millis());
    let mut text = format!(
        "default_model = \"bench/ok\"\n[auth]\nkeys = [\"sk-other-key-of-somebody\", \"{KEY}\"]\n[models]\nlocal = false\n\
         [[provider]]\nname = \"bench\"\nbase_url = \"http://{upstream}/v1\"\nmodels = [\"ok\"]\n"
    );
    let variants = |model: &str| format!("variants = [ {{ variant = {{ model_id = \"bench/{model}\" }}, weight = 100 }} ]");
    for model in MODELS {
        // Writing to a text does not fail.
        let _ = write!(
            text,
            "[[router]]\nname = \"rule-{model}\"\n[[router.routes]]\ncondition = {{ cel_expression = \"{RULE}\" }}\n\
             route = {{ {} }}\n[router.default_route]\n{}\n",
            variants(model),
            variants("e500")
        );
    }
    for (fault, _) in FAULTS {
        let _ = write!(
            text,
            "[[router]]\nname = \"{fault}\"\n[router.default_route]\nvariants = [ {{ variant = {{ model_id = \"bench/{fault}.i5\", \
             models = [\"bench/ok.i5\"], ttft_timeout = \"{patience}\", stall_timeout = \"{patience}\" }}, weight = 100 }} ]\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn it_is_a_valid_configuration() {
        let text = keys(SocketAddr::from(([127, 0, 0, 1], 9)), Duration::from_secs(2));
        config::read(&text, "bench", &[]).and_then(|written| written.check(&[])).expect("it can be served");
    }
}
