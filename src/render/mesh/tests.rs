//! The policy is the catalog's: nobody more, nobody less.

use std::collections::BTreeSet;

use super::*;
use crate::profile::{Selection, Sources, load_all, resolve};

fn stack() -> Stack {
    let loaded = load_all(&Sources::default(), "test").expect("what is built in");
    let profile = &loaded.profiles["prod"];
    resolve(
        &loaded.catalog,
        profile,
        &loaded.workspace,
        &Selection::default(),
        None,
    )
    .expect("resolves")
}

fn setting(keys: Option<TokenKeys>) -> Setting {
    let trust = |keys| TokenTrust {
        issuer: "https://login.example".into(),
        audience: "voiceassistant".into(),
        keys,
    };
    Setting {
        mesh: MeshSetting {
            tokens: keys.map(trust),
            ..MeshSetting::default()
        },
        ..Setting::default()
    }
}

fn find<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Object| object.id().kind == kind && object.id().name == name;
    objects
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
        .value()
}

fn strings(value: &Value) -> BTreeSet<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn each_service_believes_exactly_those_who_call_it() {
    let stack = stack();
    let objects = render(
        &stack,
        &setting(Some(TokenKeys::Uri("https://login.example/keys".into()))),
    );
    let mut edges = 0;
    for sized in &stack.services {
        let name = &sized.service.name;
        let rules = &find(&objects, "AuthorizationPolicy", name)["spec"]["rules"];
        let free = |rule: &&Value| rule.get("to").is_none();
        let rules = rules.as_array().expect("rules");
        let believed = rules
            .iter()
            .find(free)
            .map(|rule| strings(&rule["from"][0]["source"]["principals"]));
        let callers = stack
            .services
            .iter()
            .filter(|other| other.service.calls.contains(name));
        let callers: BTreeSet<String> = callers
            .map(|caller| format!("cluster.local/ns/voiceassistant-prod/sa/{}", caller.service.name))
            .collect();
        edges += callers.len();
        assert_eq!(believed.unwrap_or_default(), callers, "{name}");
    }
    assert_eq!(edges, 20, "the edges of platform.md");
    assert_eq!(
        find(&objects, "AuthorizationPolicy", "default-deny")["spec"],
        json!({})
    );
}

#[test]
fn every_prefix_is_public_or_guarded_at_the_gateway() {
    let stack = stack();
    let objects = render(&stack, &setting(Some(TokenKeys::Inline("{}".into()))));
    let rules = &find(&objects, "AuthorizationPolicy", "voiceassistant-prod-tokens")["spec"]["rules"];
    let guarded = strings(&rules[0]["to"][0]["operation"]["paths"]);
    for sized in &stack.services {
        for prefix in &sized.service.prefixes {
            let public = sized.service.access.public.contains(prefix);
            for path in Mesh::below(prefix) {
                assert_ne!(guarded.contains(&path), public, "{path}");
            }
        }
    }
    let by_role: Vec<_> = rules.as_array().expect("rules")[1..].iter().collect();
    assert_eq!(by_role.len(), 2, "{by_role:?}");
    assert!(
        by_role
            .iter()
            .all(|rule| rule["when"][0]["key"] == "request.auth.claims[roles]")
    );
}

#[test]
fn without_a_key_set_nothing_is_believed() {
    let objects = render(&stack(), &setting(None));
    assert!(
        objects
            .iter()
            .all(|object| object.id().kind != "RequestAuthentication")
    );
    let rules = &find(&objects, "AuthorizationPolicy", "agent-engine")["spec"]["rules"];
    assert!(!rules.to_string().contains("requestPrincipals"), "{rules}");
}

#[test]
fn one_instance_is_left_out_later_and_for_less_long() {
    let mut stack = stack();
    stack.services[0].replicas = 1;
    let (one, many) = (
        stack.services[0].service.name.clone(),
        stack.services[1].service.name.clone(),
    );
    let objects = render(&stack, &setting(None));
    let detection = |name: &str| {
        find(&objects, "DestinationRule", name)["spec"]["trafficPolicy"]["outlierDetection"].clone()
    };
    assert_eq!(detection(&one)["consecutive5xxErrors"], 50);
    assert_eq!(detection(&one)["maxEjectionPercent"], 100);
    assert_eq!(detection(&many)["consecutive5xxErrors"], 5);
}

#[test]
fn what_is_built_here_is_never_left_out() {
    let stack = stack();
    let mut setting = setting(None);
    setting.mesh.built.insert("agent-engine".to_owned());
    let objects = render(&stack, &setting);
    let policy = |name: &str| find(&objects, "DestinationRule", name)["spec"]["trafficPolicy"].clone();
    assert!(policy("agent-engine")["outlierDetection"].is_null());
    assert_eq!(policy("agent-engine")["tls"]["mode"], "ISTIO_MUTUAL");
    assert!(policy("identity-service")["outlierDetection"].is_object());
}

#[test]
fn every_route_that_is_limited_is_a_route() {
    let objects = render(&stack(), &setting(None));
    let routes = &find(&objects, "VirtualService", "voiceassistant-routes")["spec"]["http"];
    let names: BTreeSet<&str> = routes
        .as_array()
        .expect("routes")
        .iter()
        .filter_map(|route| route["name"].as_str())
        .collect();
    let filter = find(&objects, "EnvoyFilter", "voiceassistant-prod-rate-limits");
    let patches = filter["spec"]["configPatches"].as_array().expect("patches");
    let limited: Vec<&str> = patches
        .iter()
        .filter_map(|patch| patch["match"]["routeConfiguration"]["vhost"]["route"]["name"].as_str())
        .collect();
    assert_eq!(limited.len(), 18);
    assert!(limited.iter().all(|name| names.contains(name)), "{limited:?}");
}

#[test]
fn two_platforms_share_a_gateway_and_leave_each_other_alone() {
    let prefixed = |prefix: &str| {
        let mut stack = stack();
        stack.prefix(prefix);
        render(&stack, &setting(Some(TokenKeys::Inline("{}".into()))))
    };
    let (alice, bob) = (prefixed("alice"), prefixed("bob"));
    let host = json!(["alice.voiceassistant.local"]);
    let servers = &find(&alice, "Gateway", GATEWAY)["spec"]["servers"];
    assert!(
        servers
            .as_array()
            .is_some_and(|servers| servers.iter().all(|server| server["hosts"] == host)),
        "{servers}"
    );
    assert_eq!(
        servers[1]["tls"]["credentialName"],
        "alice-voiceassistant-prod-tls-cert"
    );
    let routes = find(&alice, "VirtualService", "voiceassistant-routes");
    assert_eq!(routes["spec"]["hosts"], host);
    let rules = &find(&alice, "AuthorizationPolicy", "alice-voiceassistant-prod-tokens")["spec"]["rules"];
    let hosts = json!(["alice.voiceassistant.local", "alice.voiceassistant.local:*"]);
    for rule in rules.as_array().expect("rules") {
        assert_eq!(rule["to"][0]["operation"]["hosts"], hosts);
    }
    let limit =
        &find(&alice, "EnvoyFilter", "alice-voiceassistant-prod-rate-limits")["spec"]["configPatches"];
    let filter = limit[0]["patch"]["value"]["name"].as_str().expect("a name");
    assert!(filter.ends_with(".alice-voiceassistant-prod"), "{filter}");
    assert!(limit[1]["patch"]["value"]["typed_per_filter_config"][filter].is_object());
    let ids = |objects: &[Object]| objects.iter().map(Object::id).collect::<BTreeSet<_>>();
    assert!(ids(&alice).is_disjoint(&ids(&bob)));
}

#[test]
fn a_service_of_the_users_own_is_asked_at_its_own_health_path() {
    let stack = crate::profile::with_cart("minimal", &[], false);
    let objects = render(&stack, &setting(Some(TokenKeys::Inline("{}".into()))));
    let routes = &find(&objects, "VirtualService", "voiceassistant-routes")["spec"]["http"];
    let rewrite = |path: &str| {
        let mut routes = routes.as_array().expect("routes").iter();
        let route = routes.find(|route| route["match"][0]["uri"]["exact"] == path);
        route.unwrap_or_else(|| panic!("no route for {path}"))["rewrite"]["uri"].clone()
    };
    assert_eq!(rewrite("/api/v1/cart/health"), "/hz");
    assert_eq!(rewrite("/api/v1/agents/health"), "/health");
    assert_eq!(
        rewrite("/api/v1/health"),
        Value::Null,
        "the way in knows the platform's health"
    );
    let rules = &find(&objects, "AuthorizationPolicy", "cart-service")["spec"]["rules"];
    assert_eq!(rules[0]["to"][0]["operation"]["paths"], json!(["/hz"]), "{rules}");

    let mut alone = stack;
    alone
        .services
        .retain(|sized| sized.service.name == "cart-service");
    let objects = render(&alone, &setting(None));
    let routes = &find(&objects, "VirtualService", "voiceassistant-routes")["spec"]["http"];
    for path in ["/health", "/api/v1/health"] {
        let mut routes = routes.as_array().expect("routes").iter();
        let route = routes.find(|route| route["match"][0]["uri"]["exact"] == path);
        assert_eq!(
            route.expect(path)["rewrite"]["uri"],
            "/hz",
            "it alone answers for the platform"
        );
    }
}

/// As [`stack`], where agent-engine has these prefixes and rules.
fn nested(public: &[&str], roles: &[(&str, &str)], prefixes: &[&str]) -> Stack {
    let mut stack = stack();
    let agent = stack
        .services
        .iter_mut()
        .find(|sized| sized.service.name == "agent-engine")
        .expect("there");
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    agent.service.prefixes = owned(prefixes);
    agent.service.access.public = owned(public);
    agent.service.access.roles = roles
        .iter()
        .map(|(prefix, role)| ((*prefix).to_owned(), owned(&[role])))
        .collect();
    stack
}

#[test]
fn of_prefixes_within_another_the_longest_wins() {
    let uri = || setting(Some(TokenKeys::Uri("https://login.example/keys".into())));
    let policies = |stack: &Stack| {
        let objects = render(stack, &uri());
        let of = |name: &str| find(&objects, "AuthorizationPolicy", name)["spec"]["rules"].clone();
        (of("voiceassistant-prod-tokens"), of("agent-engine"))
    };
    let operation = |rules: &Value, outer: &str| {
        let rules = rules.as_array().cloned().unwrap_or_default();
        let to = rules
            .iter()
            .flat_map(|rule| rule["to"].as_array().cloned().unwrap_or_default());
        let mut named = to.filter(|to| strings(&to["operation"]["paths"]).contains(outer));
        let found = named.next().unwrap_or_default();
        strings(&found["operation"]["notPaths"])
    };
    // Public within guarded: the gateway lets it pass, and the rest of the outer one not.
    let (gateway, own) = policies(&nested(&["/x/open"], &[], &["/x", "/x/open"]));
    let open = operation(&gateway, "/x");
    assert!(
        open.contains("/x/open") && open.contains("/x/open/*") && open.contains("/x/health"),
        "{gateway}"
    );
    assert!(operation(&own, "/x").contains("/x/open/*"), "{own}");
    // A role within what any token may ask, and within what is public: both give it away.
    for public in [&[][..], &["/x"]] {
        let (gateway, own) = policies(&nested(public, &[("/x/admin", "admin")], &["/x", "/x/admin"]));
        assert!(operation(&own, "/x").contains("/x/admin/*"), "{own}");
        let wanted = gateway.as_array().expect("rules").iter();
        let by_role = wanted.filter(|rule| rule["when"][0]["notValues"] == json!(["admin"]));
        let paths = by_role.map(|rule| strings(&rule["to"][0]["operation"]["paths"]));
        assert!(paths.flatten().any(|path| path == "/x/admin"), "{gateway}");
    }
    // Another service's prefix within it is that service's.
    let (gateway, _) = policies(&nested(&[], &[], &["/api"]));
    assert!(
        operation(&gateway, "/api").contains("/api/v1/auth/*"),
        "{gateway}"
    );
}

#[test]
fn what_the_gateway_denies_it_denies_under_the_environments_hosts() {
    let of = |hosts: &[&str]| {
        let mut setting = setting(Some(TokenKeys::Uri("https://login.example/keys".into())));
        setting.mesh.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let objects = render(&stack(), &setting);
        let rules =
            find(&objects, "AuthorizationPolicy", "voiceassistant-prod-tokens")["spec"]["rules"].clone();
        let filter = find(&objects, "EnvoyFilter", "voiceassistant-prod-unauthenticated").to_string();
        (
            strings(&rules[0]["to"][0]["operation"]["hosts"])
                .into_iter()
                .collect::<Vec<_>>(),
            filter,
        )
    };
    let (hosts, filter) = of(&["a.example", "b.example"]);
    assert_eq!(hosts, ["a.example", "a.example:*", "b.example", "b.example:*"]);
    assert!(
        filter.contains("or_filter") && filter.contains(r#"{"prefix":"b.example"}"#),
        "{filter}"
    );
    // Names under a domain can't be told with their ports; the rule then holds for all.
    let (hosts, filter) = of(&["a.example", "*.b.example"]);
    assert!(
        hosts.is_empty() && filter.contains(r#"{"contains":".b.example"}"#),
        "{filter}"
    );
    let (hosts, filter) = of(&["*"]);
    assert!(hosts.is_empty() && !filter.contains(":authority"), "{filter}");
}
