//! A service that the user's workspace adds to the platform.

use serde_json::Value;

use crate::harness::{HTTP_PORT, Platform, UP, eventually, extra_service, get};

/// A port, probes and a prefix unlike those of the platform's own services; no image and no source, so that a stand-in runs.
const CART: &str = "port: 9090\n    prefixes: [/api/v1/cart]\n    calls: [identity-service]\n    stores: [redis]\n    secrets: { REDIS_PASSWORD: { from: redis } }\n    \
                    probes: { liveness: /hz, readiness: /rz }";

#[test]
#[ignore = "needs a cluster"]
fn it_runs_beside_the_platform_and_is_verified_through_the_ingress() {
    let platform = Platform::running();
    let entry = extra_service("cart-service", "ghcr.io/example/cart-service", CART);
    platform.add_to_workspace(&format!("extraServices:\n{entry}"));
    let report = platform.json(&[&["up", "cart-service"], &UP[1..]].concat());
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
    let checks = report["verify"]["checks"].to_string();
    assert!(
        checks.contains("/api/v1/cart/health") && checks.contains("cart-service/ready"),
        "{checks}"
    );
    let url = format!("http://127.0.0.1:{HTTP_PORT}/api/v1/cart");
    let (status, body) = get(&format!("{url}/health"));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, &body["service"]),
        (200, &"cart-service".into()),
        "{body:#}"
    );
    assert_eq!(get(&url).0, 401, "its API needs a token, as every service's does");
    let through = platform.json(&[
        "check",
        "connectivity",
        "cart-service",
        "identity-service",
        "-o",
        "json",
    ]);
    assert_eq!(through[0]["ok"], true, "{through:#}");
    // Whoever is in no profile's list stays with it as well.
    let dry = platform.dry_run(&["-p", "minimal"]);
    assert!(
        !dry["leftOut"].to_string().contains("cart-service"),
        "{:#}",
        dry["leftOut"]
    );

    let report = platform.restore();
    assert!(
        report["plan"].to_string().contains("cart-service"),
        "{:#}",
        report["plan"]
    );
    eventually("its route is gone", || {
        (get(&format!("{url}/health")).0 == 404).then_some(())
    });
}
