//! Grafana's dashboards, from short descriptions of panels and queries. The descriptions are files, so that what a panel
//! shows can be read and tested without Grafana.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::profile::stack::Namespaces;

/// Every dashboard: name of its file, description.
const FILES: [(&str, &str); 4] = [
    (
        "cluster-overview",
        include_str!("dashboards/cluster-overview.yaml"),
    ),
    ("istio-mesh", include_str!("dashboards/istio-mesh.yaml")),
    (
        "application-services",
        include_str!("dashboards/application-services.yaml"),
    ),
    ("infrastructure", include_str!("dashboards/infrastructure.yaml")),
];

/// Columns of Grafana's grid.
const COLUMNS: usize = 24;

/// A dashboard.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dashboard {
    /// What it is called in Grafana.
    pub title: String,
    /// Its panels, in reading order.
    pub panels: Vec<Panel>,
}

/// A panel of a dashboard.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Panel {
    /// Heading.
    pub title: String,
    /// `stat` for one figure, `timeseries` for curves.
    #[serde(default = "timeseries")]
    pub kind: String,
    /// Grafana's name of the unit: `short`, `bytes`, `reqps`, `ms`, `s`, `percentunit`.
    #[serde(default = "short")]
    pub unit: String,
    /// Columns of 24 that it takes.
    #[serde(default = "third")]
    pub width: usize,
    /// What it shows.
    pub queries: Vec<Query>,
}

/// A query of a panel.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// In Prometheus' language, with `{{appsNamespace}}` and `{{infraNamespace}}`.
    pub expr: String,
    /// The curve's name, with labels in double braces.
    #[serde(default)]
    pub legend: String,
    /// What has to be there for it to have data, beside Prometheus: the name of a workload, or `errors` for what only
    /// trouble brings.
    #[serde(default)]
    pub needs: Option<String>,
}

/// All dashboards by name.
///
/// # Errors
/// A description that is not one; the tests read them all.
pub fn all() -> Result<Vec<(&'static str, Dashboard)>, serde_saphyr::Error> {
    FILES
        .iter()
        .map(|(name, text)| Ok((*name, serde_saphyr::from_str(text)?)))
        .collect()
}

/// A text with `{{dashboard.NAME}}` replaced by the dashboard that Grafana reads. Double braces in a legend are Grafana's own,
/// so this comes after every other placeholder was filled in.
pub fn filled(text: &str, namespaces: &Namespaces) -> String {
    if !text.contains("{{dashboard.") {
        return text.to_owned();
    }
    let known = all().unwrap_or_default();
    known.iter().fold(text.to_owned(), |text, (name, dashboard)| {
        let json = format!("{:#}", dashboard.grafana(name, namespaces));
        text.replace(&format!("{{{{dashboard.{name}}}}}"), &json)
    })
}

impl Query {
    /// The query of a platform in these namespaces.
    pub fn within(&self, namespaces: &Namespaces) -> String {
        self.expr
            .replace("{{appsNamespace}}", &namespaces.apps)
            .replace("{{infraNamespace}}", &namespaces.infra)
    }
}

impl Dashboard {
    /// As Grafana reads it from a file.
    pub fn grafana(&self, name: &str, namespaces: &Namespaces) -> Value {
        let (mut x, mut y) = (0, 0);
        let mut panels = Vec::new();
        for (index, panel) in self.panels.iter().enumerate() {
            if x + panel.width > COLUMNS {
                (x, y) = (0, y + 8);
            }
            panels.push(panel.grafana(index + 1, (x, y), namespaces));
            x += panel.width;
        }
        json!({
            "uid": format!("vadev-{name}"),
            "title": self.title,
            "tags": ["voiceassistant"],
            "timezone": "browser",
            "schemaVersion": 39,
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "panels": panels,
        })
    }
}

impl Panel {
    fn grafana(&self, id: usize, (x, y): (usize, usize), namespaces: &Namespaces) -> Value {
        let source = json!({ "type": "prometheus", "uid": "prometheus" });
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".chars();
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip(letters)
            .map(|(query, letter)| {
                json!({
                    "refId": letter.to_string(),
                    "datasource": source,
                    "expr": query.within(namespaces),
                    "legendFormat": query.legend,
                    "instant": self.kind == "stat",
                })
            })
            .collect();
        json!({
            "id": id,
            "title": self.title,
            "type": self.kind,
            "datasource": source,
            "gridPos": { "x": x, "y": y, "w": self.width, "h": 8 },
            "fieldConfig": { "defaults": { "unit": self.unit, "min": 0 }, "overrides": [] },
            "targets": targets,
        })
    }
}

fn timeseries() -> String {
    "timeseries".to_owned()
}

fn short() -> String {
    "short".to_owned()
}

const fn third() -> usize {
    8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dashboard_is_one_and_no_panel_leaves_the_grid() {
        let dashboards = all().expect("descriptions");
        assert_eq!(dashboards.len(), 4);
        for (name, dashboard) in &dashboards {
            assert!(dashboard.panels.len() >= 6, "{name}");
            let json = dashboard.grafana(name, &Namespaces::default());
            for panel in json["panels"].as_array().expect("panels") {
                let at = &panel["gridPos"];
                let right = at["x"].as_u64().unwrap() + at["w"].as_u64().unwrap();
                assert!(right <= 24, "{name}: {panel}");
                assert!(
                    !panel["targets"].as_array().unwrap().is_empty(),
                    "{name}: {panel}"
                );
            }
        }
    }

    #[test]
    fn a_placeholder_becomes_a_dashboard_and_other_texts_stay() {
        let text = filled("{{dashboard.istio-mesh}}", &Namespaces::default());
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["uid"], "vadev-istio-mesh");
        assert_eq!(
            filled("{{ $labels.pod }}", &Namespaces::default()),
            "{{ $labels.pod }}"
        );
    }
}
