//! Files and variables, right and wrong.

use super::*;

const ISSUED: &str = r#"
[server]
listen = "127.0.0.1:8080"
[auth]
keys = ["sk-secret"]
[voice]
transcriber = "auto"
synthesizer = "hibari"
voice = "heart"
[[provider]]
name = "upstream"
dialect = "openai"
base_url = "http://127.0.0.1:9100/v1"
api_key_env = "UPSTREAM_API_KEY"
[[router]]
name = "support"
[[router.routes]]
condition = { cel_expression = 'emotion == "frustrated" || hesitation > 0.5' }
route = { variants = [ { variant = { model_id = "upstream/big", models = ["upstream/other"], ttft_timeout = "2s", stall_timeout = "2s" }, weight = 100 } ] }
[router.default_route]
variants = [ { variant = { model_id = "embedded/smollm2-135m" }, weight = 100 } ]
"#;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn checked(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment(pairs);
    read(text, "timbre.toml", &environment)?.check(&environment)
}

#[test]
fn nothing_written_is_all_embedded_and_open_on_loopback() {
    let config = checked("", &[]).expect("the defaults are valid");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.auth, Auth::Open);
    assert_eq!(config.voice.transcriber, TranscriberChoice::Auto);
    assert_eq!(config.providers.len(), 1);
}

#[test]
fn a_gateway_loads_no_model() {
    const UP: &str =
        "default_model = \"up/x\"\n[[provider]]\nname = \"up\"\nbase_url = \"http://127.0.0.1:9/v1\"\n[models]\nlocal = false\n";
    let config = checked(UP, &[]).expect("it is valid");
    assert_eq!(config.providers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["up"]);
    assert_eq!((config.voice.transcriber, config.voice.synthesizer), (TranscriberChoice::None, SynthesizerChoice::None));
    let config = checked(&format!("{UP}[voice]\ntranscriber = \"up\""), &[]).expect("a provider's ears are no local model");
    assert!(matches!(config.voice.transcriber, TranscriberChoice::Remote { .. }));
    let refused = checked(&UP.replace("up/x", "embedded/smollm2-135m"), &[]).expect_err("nobody serves the default");
    assert!(refused.to_string().contains("default_model"), "{refused}");
}

#[test]
fn the_documented_file_is_read_whole() {
    let config = checked(ISSUED, &[("UPSTREAM_API_KEY", "k-123")]).expect("it is valid");
    assert_eq!(config.routers[0].routes.len(), 1);
    assert_eq!(config.providers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["embedded", "upstream"]);
    let shown = format!("{config:?}");
    assert!(!shown.contains("k-123") && !shown.contains("sk-secret"), "{shown}");
}

#[test]
fn what_is_printed_hides_keys_and_reads_back() {
    let written = read(&ISSUED.replace("http://", "http://me:pass@"), "timbre.toml", &[]).expect("it is valid");
    let printed = print(&written).expect("it can be written");
    assert!(printed.contains("***") && !printed.contains("sk-secret") && !printed.contains("pass"), "{printed}");
    let again = read(&printed, "printed", &[]).expect("it reads back");
    assert_eq!((again.router, again.server, again.turn), (written.router, written.server, written.turn));
}

#[test]
fn a_mistake_names_its_place_and_what_is_allowed() {
    for (text, expected) in [
        ("[server]\nlisten = \"127.0.0.1:1\"\nmax_sesions = 3", &["line 3", "`max_sesions`", "did you mean `max_sessions`?"][..]),
        ("[sever]", &["line 1", "did you mean `server`?"]),
        ("[server]\nmax_sessions = \"many\"", &["line 2", "expected usize"]),
        ("[server]\nallowed_origins = [\"https://a.example/\"]", &["server.allowed_origins", "https://app.example.org"]),
        ("[server]\ndrain = \"soon\"", &["line 2", "\"soon\" is not a duration"]),
        ("[server]\nlisten = \"nowhere\"", &["server.listen", "127.0.0.1:8080"]),
        ("[server]\nlisten = \"0.0.0.0:80\"", &["auth.keys"]),
        ("[server]\nmax_sessions = 0", &["server.max_sessions"]),
        ("[voice]\ntranscriber = \"parrot\"", &["voice.transcriber", "moonshine"]),
        ("[voice]\nlanguage = \"english\"", &["voice.language"]),
        ("[voice]\nlanguages = [\"en\", \"german\"]", &["voice.languages", "german"]),
        ("[voice]\nlanguage = \"en\"\nlanguages = [\"en\", \"de\"]", &["voice.language", "voice.languages"]),
        ("[voice]\necho = \"yes\"", &["voice.echo", "auto, on, off"]),
        ("[turn]\neagerness = \"very\"", &["turn.eagerness", "medium"]),
        ("[turn]\nthreshold = 2.0", &["turn.threshold"]),
        ("default_model = \"gpt\"", &["default_model", "embedded/smollm2-135m"]),
        ("[[provider]]\nname = \"a\"", &["provider[0].base_url"]),
        ("[[provider]]\nname = \"a\"\nbase_url = \"http://a\"\napi_key_env = \"NO_SUCH\"", &["NO_SUCH is not set"]),
        ("[[provider]]\nname = \"a\"\ndialect = \"smoke\"", &["dialect", "openai, anthropic, gemini, embedded"]),
        ("[[provider]]\nname = \"a\"\npreset = \"smoke\"", &["provider[0].preset", "groq"]),
        ("[[provider]]\nname = \"a\"\npreset = \"groq\"", &["GROQ_API_KEY is not set"]),
        ("[[provider]]\nname = \"a\"\npreset = \"azure\"", &["base_url", "openai.azure.com"]),
        ("[[provider]]\nname = \"a\"\npreset = \"ollama\"\nheaders = { x-key = \"env:NO_SUCH\" }", &["headers.x-key", "NO_SUCH"]),
        ("[[provider]]\nname = \"a\"\npreset = \"ollama\"\nheaders = { \"x key\" = \"a\" }", &["name of a header"]),
        ("[[provider]]\nname = \"a\"\npreset = \"ollama\"\nheaders = { x-key = \"a\\nb\" }", &["printable ASCII"]),
        (
            "[[provider]]\nname = \"a\"\nreplicas = [\"http://a/v1\"]\nbase_url = \"http://b/v1\"",
            &["provider[0].base_url", "one of the two"],
        ),
        ("[[provider]]\nname = \"a\"\nreplicas = [\"http://a/v1\", \"b\"]", &["provider[0].replicas[1]", "is no URL"]),
        ("[[provider]]\nname = \"a\"\nreplicas = [\"http://a/v1\", \"http://a/v1\"]", &["replicas[1]", "there twice"]),
        ("[[provider]]\nname = \"a\"\npreset = \"vllm\"\ncheck_every = \"1s\"", &["check_every", "belongs to `replicas`"]),
        ("[models]\nranks = \"/nowhere/ranks.csv\"", &["models.ranks", "/nowhere/ranks.csv"]),
        ("[cache]\nsemantics = true", &["did you mean `semantic`?"]),
        ("[[router]]\nname = \"r\"", &["router.r", "default_route"]),
        (
            "[[router]]\nname = \"r\"\n[[router.routes]]\ncondition = { cel_expression = \"tier ==\" }\nroute = { variants = [ { variant = { model_id = \"embedded/x\" } } ] }",
            &["router.r.routes[0].condition", "not CEL"],
        ),
    ] {
        let error = checked(text, &[]).expect_err(text).to_string();
        for part in expected {
            assert!(error.contains(part), "{text}\n{error}");
        }
    }
}

#[test]
fn variables_go_over_the_file_in_the_type_of_their_key() {
    let pairs = [
        ("TIMBRE_SERVER__LISTEN", "127.0.0.1:9"),
        ("TIMBRE_SERVER__MAX_SESSIONS", "7"),
        ("TIMBRE_SERVER__DRAIN", "3s"),
        ("TIMBRE_VOICE__NOISE_SUPPRESSION", "true"),
        ("TIMBRE_AUTH__KEYS", "one, two"),
        ("TIMBRE_PROVIDER__0__BASE_URL", "https://there/v1"),
        ("TIMBRE_DEFAULT_MODEL", "timbre/support"),
        ("TIMBRE_MODELS_DIR", "/elsewhere"),
        ("UPSTREAM_API_KEY", "k"),
    ];
    let config = checked(ISSUED, &pairs).expect("they are valid");
    assert_eq!(config.listen.port(), 9);
    assert_eq!((config.limits.sessions, config.limits.drain.as_secs()), (7, 3));
    assert!(config.voice.noise_suppression);
    assert_eq!(config.default_model, "timbre/support");
    assert!(matches!(&config.auth, Auth::Keys(keys) if keys.len() == 2 && keys[1].reveal() == "two"));
    assert!(matches!(&config.providers[1].dialect, Dialect::Remote { endpoint, .. } if endpoint.base_url == "https://there/v1"));
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, expected) in [
        ("TIMBRE_SERVER__LISTN", "x", "did you mean `listen`?"),
        ("TIMBRE_SERVER__MAX_SESSIONS", "many", "TIMBRE_SERVER__MAX_SESSIONS"),
        ("TIMBRE_PROVIDER__5__NAME", "x", "list of 1"),
    ] {
        let error = checked(ISSUED, &[(name, value), ("UPSTREAM_API_KEY", "k")]).expect_err(name).to_string();
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
}

#[test]
fn a_remote_engine_is_a_provider_with_a_url() {
    let text = "[voice]\ntranscriber = \"there/big\"\nsynthesizer = \"there\"\n[[provider]]\nname = \"there\"\nbase_url = \"http://a/v1\"";
    let voice = checked(text, &[]).expect("it is valid").voice;
    assert_eq!(voice.transcriber, TranscriberChoice::Remote { provider: "there".into(), model: "big".into() });
    assert_eq!(voice.synthesizer, SynthesizerChoice::Remote { provider: "there".into(), model: "tts-1".into() });
}

#[test]
fn a_preset_or_a_dialect_needs_no_more_than_a_key() {
    use models::llm::presets::Wire;
    use models::llm::quirks::Quirks;
    use models::remote::KeyPlace;

    let variables = [
        ("GROQ_API_KEY", "g-1"),
        ("ANTHROPIC_API_KEY", "a-1"),
        ("GEMINI_API_KEY", "i-1"),
        ("OPENAI_API_KEY", "o-1"),
        ("AZURE_OPENAI_API_KEY", "z-1"),
        ("SITE_KEY", "s-1"),
    ];
    for (text, wire, base_url, key, place) in [
        ("preset = \"groq\"", Wire::Openai, "https://api.groq.com/openai/v1", Some("g-1"), KeyPlace::Bearer),
        ("dialect = \"anthropic\"", Wire::Anthropic, "https://api.anthropic.com/v1", Some("a-1"), KeyPlace::Header("x-api-key")),
        ("dialect = \"openai\"", Wire::Openai, "https://api.openai.com/v1", Some("o-1"), KeyPlace::Bearer),
        (
            "preset = \"gemini\"",
            Wire::Gemini,
            "https://generativelanguage.googleapis.com/v1beta",
            Some("i-1"),
            KeyPlace::Header("x-goog-api-key"),
        ),
        ("preset = \"ollama\"", Wire::Openai, "http://127.0.0.1:11434/v1", None, KeyPlace::Bearer),
        ("dialect = \"anthropic\"\nbase_url = \"http://a/v1\"", Wire::Anthropic, "http://a/v1", None, KeyPlace::Header("x-api-key")),
        ("preset = \"groq\"\napi_key_env = \"\"", Wire::Openai, "https://api.groq.com/openai/v1", None, KeyPlace::Bearer),
        ("preset = \"azure\"\nbase_url = \"https://a/v1\"", Wire::Openai, "https://a/v1", Some("z-1"), KeyPlace::Header("api-key")),
    ] {
        let config = checked(&format!("[[provider]]\nname = \"a\"\n{text}"), &variables).expect(text);
        let Dialect::Remote { wire: spoken, endpoint, .. } = &config.providers[1].dialect else { panic!("{text}") };
        assert_eq!((*spoken, endpoint.base_url.as_str(), endpoint.key_place), (wire, base_url, place), "{text}");
        assert_eq!(endpoint.key.as_ref().map(|key| key.reveal()), key, "{text}");
    }
    let text = "[[provider]]\nname = \"a\"\npreset = \"azure\"\nbase_url = \"https://a/openai/deployments/{model}\"\nheaders = { x-site = \"env:SITE_KEY\" }";
    let config = checked(text, &variables).expect("it is valid");
    let Dialect::Remote { endpoint, quirks, .. } = &config.providers[1].dialect else { panic!("it is remote") };
    assert_eq!(endpoint.query, [("api-version".to_owned(), "2024-10-21".to_owned())]);
    assert_eq!((endpoint.headers[0].0.as_str(), endpoint.headers[0].1.reveal()), ("x-site", "s-1"));
    assert_ne!(*quirks, Quirks::NONE);
    let shown = format!("{config:?}");
    assert!(!shown.contains("s-1") && !shown.contains("z-1"), "{shown}");
}

#[test]
fn replicas_are_checked_now_and_then_and_take_the_quirks_of_their_preset() {
    use std::time::Duration;

    use models::llm::quirks::Begun;

    for (more, every) in [
        ("", Some(Duration::from_secs(5))),
        ("\ncheck_every = \"500ms\"", Some(Duration::from_millis(500))),
        ("\ncheck_every = \"0s\"", None),
    ] {
        let text = format!("[[provider]]\nname = \"gpu\"\npreset = \"vllm\"\nreplicas = [\"http://a/v1\", \"http://b/v1\"]{more}");
        let config = checked(&text, &[]).expect("it is valid");
        let Dialect::Remote { endpoint, quirks, replicas: Some(replicas), .. } = &config.providers[1].dialect else { panic!("{text}") };
        assert_eq!((endpoint.base_url.as_str(), quirks.begun), ("http://a/v1", Begun::Final));
        assert_eq!((replicas.base_urls.len(), replicas.check_every), (2, every));
    }
    let text = "[[provider]]\nname = \"gpu\"\nreplicas = [\"http://me:pass@a/v1\"]";
    let printed = print(&read(text, "timbre.toml", &[]).expect("it is valid")).expect("it can be written");
    assert!(printed.contains("http://***@a/v1"), "{printed}");
}

#[test]
fn headers_are_printed_without_what_may_be_a_key() {
    let text = "[[provider]]\nname = \"a\"\npreset = \"ollama\"\nheaders = { x-a = \"hidden\", x-b = \"env:SHOWN\" }";
    let printed = print(&read(text, "timbre.toml", &[]).expect("it is valid")).expect("it can be written");
    assert!(!printed.contains("hidden") && printed.contains("env:SHOWN"), "{printed}");
}
