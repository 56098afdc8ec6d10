//! The order in which services start: after those they call.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::catalog::Service;

/// The services so that each stands after those it calls. Where they call each other in a circle, the name that comes
/// first in the alphabet goes last of the circle: it is entered first, and waits for the others.
pub fn by_dependency(services: &IndexMap<String, Service>) -> Vec<String> {
    let mut order = Vec::new();
    let mut entered = BTreeSet::new();
    let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    // An explicit stack: a catalog of the user's may hold a long chain. Each frame: a service, and its calls not yet seen.
    for root in names {
        let mut frames = vec![frame(services, root)];
        if !entered.insert(root) {
            continue;
        }
        while let Some((name, pending)) = frames.last_mut() {
            match pending.pop() {
                Some(callee) if entered.insert(callee) => {
                    let next = frame(services, callee);
                    frames.push(next);
                }
                Some(_) => {}
                None => {
                    order.push((*name).to_owned());
                    frames.pop();
                }
            }
        }
    }
    order
}

/// A service and its calls that are among the services, in an order to be popped from the end.
fn frame<'a>(services: &'a IndexMap<String, Service>, name: &'a str) -> (&'a str, Vec<&'a str>) {
    let calls = services.get(name).into_iter().flat_map(|service| &service.calls);
    let mut calls: Vec<&str> = calls
        .map(String::as_str)
        .filter(|callee| services.contains_key(*callee))
        .collect();
    calls.sort_unstable_by(|a, b| b.cmp(a));
    (name, calls)
}
