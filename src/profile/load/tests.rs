use super::*;
use crate::failure::Diagnose;

const HEAD: &str = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";

fn load_workspace(rest: &str) -> Result<Loaded, Problems> {
    let sources = Sources {
        workspace: Some(("vadev.yaml".into(), format!("{HEAD}{rest}"))),
        ..Sources::default()
    };
    load_all(&sources, "unused")
}

#[test]
fn a_system_that_runs_once_has_one_replica() {
    let problems = |rest: &str| {
        load_workspace(rest)
            .map(drop)
            .map_err(|problems| problems.details().join("\n"))
    };
    let told = problems("infrastructure:\n  postgres: { replicas: 3 }\n  minio: { replicas: 2 }\n")
        .expect_err("wrong");
    for part in [
        "vadev.yaml:5:25",
        "3 replicas of `postgres`",
        "vadev.yaml:6:22",
        "it runs once",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(
        problems("infrastructure: { postgres: { replicas: 1 }, redis: { replicas: 0 } }\n"),
        Ok(())
    );
    let profile = "apiVersion: vadev.dev/v1\nkind: Profile\nname: mine\nsummary: x\ngroups: [core-storage]\nservices: all\n\
                   sizing: fitted\nbudget: {}\noverrides: { redis: { replicas: 2 } }\n";
    let sources = Sources {
        profiles: vec![("mine.yaml".to_owned(), profile.to_owned())],
        ..Sources::default()
    };
    let told = load_all(&sources, "x").expect_err("wrong").details().join("\n");
    assert!(told.contains("mine.yaml:9:"), "{told}");
}

#[test]
fn a_system_whose_entry_says_so_may_have_replicas() {
    let (_, text) = embedded_files()
        .into_iter()
        .find(|(file, _)| file.ends_with("infrastructure/jaeger.yaml"))
        .expect("built in");
    let with = |more: &str| Sources {
        catalog: vec![(
            "infrastructure/jaeger.yaml".to_owned(),
            text.replace(
                "    kind: Deployment\n",
                &format!("    kind: Deployment\n    replicas: 2\n{more}"),
            ),
        )],
        ..Sources::default()
    };
    assert!(load_all(&with(""), "x").is_err());
    let loaded = load_all(&with("    replicable: true\n"), "x").expect("says so");
    assert!(loaded.catalog.unreplicable("jaeger").is_none());
    assert!(loaded.catalog.unreplicable("minio").is_some());
    assert!(loaded.catalog.unreplicable("agent-engine").is_none());
}

#[test]
fn a_workspace_says_how_services_are_built() {
    let loaded = load_workspace(
        "profile: minimal\nservices:\n  agent-engine:\n    source: src/agent\n    restart: process\n    \
         sync: [{ from: app, to: /app, ignore: ['**/*.pyc'] }]\n    resources: { limits: { memory: 1Gi } }\n",
    )
    .expect("a good file");
    let agent = &loaded.workspace.services["agent-engine"];
    assert_eq!(
        (
            agent.source.as_deref(),
            agent.sync.as_ref().unwrap()[0].to.as_str()
        ),
        (Some("src/agent"), "/app")
    );
    let sync = |rest: &str| {
        let text = format!("services:\n  agent-engine:\n    source: a\n{rest}");
        load_workspace(&text).expect("a good file").workspace.services["agent-engine"]
            .sync
            .clone()
    };
    assert_eq!(
        sync("    sync: []\n"),
        Some(Vec::new()),
        "none is something else than nothing said"
    );
    assert_eq!(sync(""), None);
}

#[test]
fn its_names_are_checked_where_they_stand() {
    let text =
        "profile: minimall\nservices:\n  agent-enigne: { replicas: 1 }\ninfrastructure:\n  redsi: {}\n";
    let problems = load_workspace(text).expect_err("misspelt");
    let told: Vec<String> = problems
        .all()
        .iter()
        .map(|p| {
            format!(
                "{}:{} {} ({})",
                p.line,
                p.column,
                p.message,
                p.suggestion.clone().unwrap_or_default()
            )
        })
        .collect();
    let expected = [
        "4:10 no profile is called `minimall` (did you mean `minimal`?)",
        "6:3 nothing in the catalog is called `agent-enigne` (did you mean `agent-engine`?)",
        "8:3 nothing in the catalog is called `redsi` (did you mean `redis`?)",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_stands_in_the_wrong_place_is_told_where_it_belongs() {
    let text = "services:\n  redis: {}\n  billing: {}\n  agent-engine:\n    source: a\n    sync: [{ from: ../x, to: /a }, { from: b, to: /, ignore: ['[a'] }, { from: ./b/, to: /c }]\n\
                infrastructure:\n  rag-engine: {}\n  \
                redis: { resources: { limits: { memory: 64Mi, cpu: 1 }, requests: { memory: 4Gi, cpu: 1 } } }\n";
    let details = load_workspace(text).expect_err("wrong").details().join("\n");
    for expected in [
        "it is a system: state it under `infrastructure`",
        "one of your own is described under `extraServices`",
        "it is a service: state it under `services`",
        "`../x` is no path below the service's source",
        "`/` is no place to sync to",
        "`[a` is no pattern",
        "`./b/` is taken by the rule for `b` before it",
        "the memory limit 64Mi is below the request 4Gi",
    ] {
        assert!(details.contains(expected), "{expected}\n{details}");
    }
}

#[test]
fn values_that_a_cluster_would_refuse_are_told_here() {
    let text = "services:\n  agent-engine:\n    image: UPPER case:x\n    config: { 'a b': x, 1: y }\n    \
                resources: { limits: { memory: 24, cpu: 0.5 }, requests: { memory: 512MB, cpu: 0 } }\n    replicas: \"2\"\n  \
                rag-engine: { replicas: 99999999999999999999999999999999999999999999 }\n  voice-engine:\n";
    let problems = load_workspace(text).expect_err("wrong");
    let details = problems.details().join("\n");
    for expected in [
        "`UPPER case:x` is no image such as",
        "`a b` is no name of a variable",
        "`1` is no name of a variable",
        "write 24Mi or 24Gi",
        "did you mean 512Mi?",
        "`0` is no CPU at all",
        "leave the quotes away",
        "`replicas` is 99999999999999999999999999999999999999999999, and must be at most 50",
        "give it a value, or take the line away",
    ] {
        assert!(details.contains(expected), "{expected}\n{details}");
    }
    assert_eq!(problems.all().len(), 9, "{details}");
}

#[test]
fn fields_and_types_of_the_file_come_all_at_once() {
    let text =
        "services:\n  agent-engine:\n    sync: [{ form: a, to: b }]\n    restart: proces\n    replicas: -1\n";
    let details = load_workspace(text).expect_err("wrong").details().join("\n");
    for expected in [
        "did you mean `from`?",
        "item 1 of `sync` lacks the field `from`",
        "`b` must begin with `/`",
        "did you mean `process`?",
        "`replicas` is -1, and must be at least 0",
    ] {
        assert!(details.contains(expected), "{expected}\n{details}");
    }
}

#[test]
fn extra_services_join_the_catalog() {
    let entry = "extraServices:\n  - apiVersion: vadev.dev/v1\n    kind: Service\n    name: NAME\n    summary: Ours\n    \
         language: go\n    source: ours\n    image: { repository: x/ours, version: 1.0.0 }\n    calls: [CALL]\n    \
         resources: { requests: { cpu: 100m, memory: 64Mi }, limits: { cpu: 100m, memory: 64Mi } }\n    \
         replicas: 1\n    autoscaling: { min: 1, max: 1, cpuPercent: 70 }\n";
    let good = entry
        .replace("NAME", "billing")
        .replace("CALL", "identity-service");
    assert!(
        load_workspace(&good)
            .expect("good")
            .catalog
            .services
            .contains_key("billing")
    );
    let taken = entry
        .replace("NAME", "rag-engine")
        .replace("CALL", "identity-servic");
    let details = load_workspace(&taken).expect_err("taken").details().join("\n");
    assert!(
        details.contains("the catalog has `rag-engine` already"),
        "{details}"
    );
    assert!(details.contains("did you mean `identity-service`?"), "{details}");
    for (name, expected) in [
        ("prometheus", "the catalog has `prometheus` already"),
        ("metrics-server", "`metrics-server` is vadev's own name"),
    ] {
        let text = good.replace("billing", name);
        let problems = load_workspace(&text).expect_err(name);
        let problem = &problems.all()[0];
        assert_eq!((problem.line, problem.column), (7, 11), "{problem:?}");
        assert!(problem.message.contains(expected), "{problem:?}");
    }
    let prefix = good.replace(
        "    replicas: 1\n",
        "    replicas: 1\n    prefixes: [/api/v1/ours, PREFIX]\n",
    );
    let identity =
        load_workspace("").expect("nothing").catalog.services["identity-service"].prefixes[0].clone();
    let problems = load_workspace(&prefix.replace("PREFIX", &identity)).expect_err("taken");
    assert_eq!(
        problems.all()[0].message,
        format!("the prefix `{identity}` is taken already, by identity-service")
    );
    for (wrong, expected) in [
        ("/", "the prefix `/` would take every path"),
        ("api", "write /api"),
        ("'/a?b'", "the prefix `/a?b` is no plain path"),
    ] {
        let details = load_workspace(&prefix.replace("PREFIX", wrong))
            .expect_err(wrong)
            .details()
            .join("\n");
        assert!(details.contains(expected), "{details}");
    }
    let port = good.replace("    replicas: 1\n", "    replicas: 1\n    port: 15001\n");
    assert!(
        load_workspace(&port)
            .expect_err("taken")
            .to_string()
            .contains("Istio's own")
    );
    let small = good.replace("requests: { cpu: 100m,", "requests: { cpu: 5m,");
    let told = load_workspace(&small).expect_err("small").to_string();
    assert!(told.contains("the cpu request 5m is below the least"), "{told}");
    assert!(load_workspace(&prefix.replace("PREFIX", "/api/v1/theirs")).is_ok());
    assert!(load_workspace(&prefix.replace("PREFIX", "/api/v1/ours")).is_err());
}

#[test]
fn a_name_that_would_be_too_long_for_a_node_is_told() {
    let named = |length: usize| {
        let text = HEAD.replace("shop", &"s".repeat(length));
        let sources = Sources {
            workspace: Some(("vadev.yaml".into(), text)),
            ..Sources::default()
        };
        load_all(&sources, "unused")
    };
    assert!(named(LONGEST_NAME).is_ok());
    let problems = named(LONGEST_NAME + 1).expect_err("too long");
    assert_eq!((problems.all()[0].line, problems.all()[0].column), (3, 7));
}

/// An entry of a service of one's own; `more` replaces and adds lines.
fn own(name: &str, more: &str) -> String {
    let usual = format!(
        "apiVersion: vadev.dev/v1\nkind: Service\nname: {name}\nsummary: Ours\nlanguage: go\nsource: x\n\
         image: {{ repository: x/y, version: 1.0.0 }}\n\
         resources: {{ requests: {{ cpu: 50m, memory: 64Mi }}, limits: {{ cpu: 100m, memory: 64Mi }} }}\n\
         replicas: 1\nautoscaling: {{ min: 1, max: 1, cpuPercent: 70 }}"
    );
    let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let replaced: Vec<String> = more.lines().map(key).collect();
    let kept = usual.lines().filter(|line| !replaced.contains(&key(line)));
    let lines: Vec<&str> = kept.chain(more.lines()).collect();
    format!("  - {}\n", lines.join("\n    "))
}

#[test]
fn what_a_service_of_ones_own_can_not_be_is_told() {
    for (name, more, told) in [
        ("cart", "replicas: 4294967295", "must be at most 50"),
        ("cart", "replicas: 0", "must be at least 1"),
        ("cart", "replicas: 2", "autoscaling never goes beyond 1"),
        (
            "cart",
            "autoscaling: { min: 1, max: 4294967295, cpuPercent: 70 }",
            "must be at most 1000",
        ),
        (
            "cart",
            "autoscaling: { min: 1, max: 2, cpuPercent: 70, memoryPercent: 0 }",
            "must be at least 1",
        ),
        ("cart", "probes: { periodSeconds: 0 }", "must be at least 1"),
        (
            "cart",
            "probes: { startupSeconds: 4294967295 }",
            "must be at most 86400",
        ),
        ("cart", "probes: { liveness: '/a?b' }", "must be a path alone"),
        (
            "cart",
            "image: { repository: 'ghcr.io/acme/Cart:1.0', version: '2' }",
            "is no name of an image",
        ),
        ("cart", "image: { repository: x/y, version: '-x-' }", "is no tag"),
        ("cart", "secrets: { 'bad key!': {} }", "is no name of a variable"),
        (
            "cart",
            "secrets: { A: { from: kafka } }",
            "`kafka` has no password",
        ),
        (
            "cart",
            "config: { A: '{{infraNamespac}}' }",
            "did you mean `{{infraNamespace}}`?",
        ),
        (
            "cart",
            "config: { A: x }\nsecrets: { A: {} }",
            "`A` is a credential of `cart`",
        ),
        ("cart", "prefixes: [/health]", "which the platform answers itself"),
        ("cart", "prefixes: [/api/v1]", "holds `/api/v1/health`"),
        (
            "cart",
            "prefixes: [/api/v1/auth/health]",
            "the health of identity-service is asked",
        ),
        ("cart", "prefixes: [/x, /x/health]", "the health of cart is asked"),
        ("cart", "prefixes: [/x/health, /x]", "is a prefix of cart"),
        ("allow-dns", "", "vadev's own name"),
        ("voiceassistant-routes", "", "vadev's own name"),
        ("default", "", "vadev's own name"),
    ] {
        let found = load_workspace(&format!("extraServices:\n{}", own(name, more)));
        let found = found.expect_err(more).details().join("\n");
        assert!(
            found.contains(told) && found.contains("vadev.yaml:"),
            "{name}, {more}: {found}"
        );
    }
    let fine = "prefixes: [/x, /x/open]\nconfig: { A: '{{ user }} {{infraNamespace}}' }\nsecrets: { B: { from: redis } }";
    load_workspace(&format!("extraServices:\n{}", own("cart", fine))).expect("fine");
}

#[test]
fn a_credential_is_no_setting_wherever_it_is_stated() {
    for (text, told) in [
        (
            "infrastructure: { redis: { config: { REDISCLI_AUTH: x } } }",
            "a credential of `redis`",
        ),
        (
            "services: { identity-service: { config: { POSTGRES_PASSWORD: x } } }",
            "secret set identity-service",
        ),
        (
            "services: { agent-engine: { config: { A: '{{appNamespace}}' } } }",
            "did you mean `{{appsNamespace}}`?",
        ),
        (
            "services: { postgres: { replicas: 1 } }",
            "`postgres` is no service",
        ),
    ] {
        let found = load_workspace(text).expect_err(text).details().join("\n");
        assert!(
            found.contains(told) && found.contains("vadev.yaml:4:"),
            "{text}: {found}"
        );
    }
    let loaded = load_workspace("").expect("loads");
    let selection = crate::profile::Selection {
        set: vec!["redis.config.REDISCLI_AUTH=x".to_owned()],
        ..Default::default()
    };
    let profile = &loaded.profiles["dev"];
    let refused = crate::profile::resolve(&loaded.catalog, profile, &loaded.workspace, &selection, None);
    let refused = refused.expect_err("a credential").to_string();
    assert!(refused.contains("a credential of `redis`"), "{refused}");
}
