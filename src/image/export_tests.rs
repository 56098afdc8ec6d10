use super::*;
use crate::image::layout::{TAR_END, sha256, tar_file};
use serde_json::json;

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    json!({"rootfs": {"type": "layers", "diff_ids": ids}})
        .to_string()
        .into_bytes()
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = files
        .iter()
        .flat_map(|(path, content)| tar_file(path, content).unwrap())
        .collect();
    bytes.extend(TAR_END);
    bytes
}

fn kept(content: &Content) -> Vec<bool> {
    content
        .layers
        .iter()
        .map(|(_, source)| matches!(source, Source::Spooled(_)))
        .collect()
}

#[test]
fn the_legacy_layout_is_understood() {
    let (base, top): (&[u8], &[u8]) = (b"base layer", b"top layer");
    let manifest = json!([{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar"]}]).to_string();
    let bytes = archive(&[
        ("a/layer.tar", base),
        ("a/VERSION", b"1.0"),
        ("b/layer.tar", top),
        ("c.json", &config(&[base, top])),
        ("manifest.json", manifest.as_bytes()),
    ]);
    let content = read("x", bytes.as_slice(), &HashSet::from([sha256(base)])).unwrap();
    assert_eq!(content.digests(), [sha256(base), sha256(top)]);
    assert_eq!(kept(&content), [false, true]);
    assert_eq!(content.config, config(&[base, top]));
}

#[test]
fn the_oci_layout_is_understood_and_its_known_blobs_pass_by() {
    let layer: &[u8] = b"a layer";
    let config = config(&[layer]);
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", &sha256(bytes)[7..]);
    let manifest = json!([{"Config": path(&config), "Layers": [path(layer)]}]).to_string();
    let bytes = archive(&[
        (&path(layer), layer),
        (&path(&config), &config),
        ("manifest.json", manifest.as_bytes()),
    ]);
    assert_eq!(
        kept(&read("x", bytes.as_slice(), &HashSet::new()).unwrap()),
        [true]
    );
    assert_eq!(
        kept(&read("x", bytes.as_slice(), &HashSet::from([sha256(layer)])).unwrap()),
        [false]
    );
}

#[test]
fn a_layer_that_is_not_what_it_should_be_is_refused() {
    let manifest = json!([{"Config": "c.json", "Layers": ["a/layer.tar"]}]).to_string();
    let bytes = archive(&[
        ("a/layer.tar", b"something else"),
        ("c.json", &config(&[b"a layer"])),
        ("manifest.json", manifest.as_bytes()),
    ]);
    let error = read("x", bytes.as_slice(), &HashSet::new()).unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
}

#[test]
fn links_between_layers_are_followed() {
    assert_eq!(resolve("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
}

#[test]
fn a_cut_off_export_is_refused() {
    let bytes = archive(&[("manifest.json", b"[{\"Config\":\"c.json\",\"Layers\":[]}]")]);
    assert!(read("x", &bytes[..700], &HashSet::new()).is_err());
    assert!(read("x", &b""[..], &HashSet::new()).is_err());
}
