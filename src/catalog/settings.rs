//! Configuration of services and workloads: no credentials among it, and no placeholders that nothing fills in.

use super::load::Document;
use super::problem::{Problem, nearest};
use super::service::Service;
use super::tree::Step;
use super::tree::Step::Key;
use super::{Catalog, Workload};

/// The placeholders that a service's configuration may hold, each between two braces.
pub const PLACEHOLDERS: [&str; 3] = ["appsNamespace", "infraNamespace", "meshNamespace"];

/// What is wrong with a setting, and what would help.
pub type Wrong = (String, String);

impl Catalog {
    /// What is wrong with a setting of a service, system or workload, and what would help.
    pub fn wrong_setting(&self, name: &str, key: &str, value: &str) -> Option<Wrong> {
        if let Some(service) = self.services.get(name) {
            return of_service(service, key, value);
        }
        let holder = self.infrastructure.values().find_map(|system| {
            let whole = system.is_called(name);
            let meant = |workload: &&Workload| whole || workload.name == name;
            let mut workloads = system.workloads.iter().filter(meant);
            let secret = workloads.find_map(|workload| workload.secret_env.get(key))?;
            Some((&system.name, secret))
        });
        holder.map(|(system, secret)| {
            let help = format!(
                "vadev makes its value on this machine, and production has it in the Secret `{system}-secret` under `{secret}`"
            );
            (credential(system, key), help)
        })
    }
}

fn credential(component: &str, key: &str) -> String {
    format!("`{key}` is a credential of `{component}`, and no setting")
}

fn of_service(service: &Service, key: &str, value: &str) -> Option<Wrong> {
    if service.secrets.contains_key(key) {
        let name = &service.name;
        let help = format!(
            "here `vadev secret set {name} {key}` states it, and production has it in the Secret `{name}-secret`"
        );
        return Some((credential(name, key), help));
    }
    let (written, meant) = misspelt(value)?;
    Some((
        format!("nothing fills in `{{{{{written}}}}}`"),
        format!("did you mean `{{{{{meant}}}}}`?"),
    ))
}

/// A placeholder that is almost a known one. Others are left alone: texts may hold braces of their own.
fn misspelt(value: &str) -> Option<(&str, &'static str)> {
    let written = value.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
    let mut unknown = written
        .map(|(name, _)| name)
        .filter(|name| !PLACEHOLDERS.contains(name));
    unknown.find_map(|name| Some((name, nearest(name.trim(), PLACEHOLDERS)?)))
}

/// The settings of a service's own entry.
pub(super) fn check<T>(document: &Document<'_, T>, service: &Service, base: &[Step<'_>]) -> Vec<Problem> {
    let wrong = service.config.iter().filter_map(|(key, value)| {
        let (message, help) = of_service(service, key, value)?;
        let path = [base, &[Key("config")]].concat();
        Some(document.key_problem(&path, key, message, Some(help)))
    });
    wrong.collect()
}
