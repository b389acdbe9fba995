//! Many processes at once.

use std::{
    fs,
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::support::Project;

#[test]
fn sixteen_processes_apply_at_once() {
    let project = Project::new();
    // Sixteen checkouts of one registry, each with an entity of its own.
    let settings = "[project]\nname = \"probe\"\nregistry = \"../registry\"\n";
    for number in 0..16 {
        entity_of(&project, &format!("checkout{number}"), number, settings);
    }
    let children = (0..16).map(|number| {
        let folder = format!("checkout{number}");
        let mut command = project.command(&["--project", &folder, "--json", "apply"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let (mut sequences, late) = late_to_apply(children.collect());
    assert!(!sequences.is_empty());
    for number in late {
        let applied = project.json(&["--project", &format!("checkout{number}"), "apply"]);
        sequences.push((applied["snapshot"].as_u64().unwrap(), number));
    }
    every_snapshot_is_there(&project, sequences);
}

/// A project in a folder, with settings and an entity of its own.
pub fn entity_of(project: &Project, folder: &str, number: usize, settings: &str) {
    fs::create_dir_all(project.path(&format!("{folder}/features"))).unwrap();
    project.write(&format!("{folder}/unskew.toml"), settings);
    let text = format!("[entity.entity_{number}]\njoin_keys = {{ id = \"int64\" }}\n");
    project.write(&format!("{folder}/features/entity.toml"), &text);
}

/// Waits for processes that apply: the snapshots that some of them made, and those that came late.
pub fn late_to_apply(children: Vec<Child>) -> (Vec<(u64, usize)>, Vec<usize>) {
    let (mut sequences, mut late) = (Vec::new(), Vec::new());
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {
                let applied: Value = serde_json::from_slice(&output.stdout).unwrap();
                sequences.push((applied["snapshot"].as_u64().unwrap(), number));
            }
            code => {
                // Its plan would have undone what another put into force meanwhile, unseen.
                assert_eq!(code, Some(2), "{said}");
                assert!(said.contains("another apply came first"), "{said}");
                late.push(number);
            }
        }
    }
    (sequences, late)
}

/// Every apply is a snapshot of its own, readable, with what its process applied.
fn every_snapshot_is_there(project: &Project, mut sequences: Vec<(u64, usize)>) {
    sequences.sort_unstable();
    let numbers: Vec<u64> = sequences.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    for (sequence, number) in sequences {
        let text =
            fs::read_to_string(project.path(&format!("registry/snapshots/{sequence:020}.json")))
                .unwrap();
        let snapshot: Value = serde_json::from_str(&text).unwrap();
        let entities = snapshot["state"]["definitions"]["entities"].as_object().unwrap();
        assert_eq!(entities.keys().collect::<Vec<_>>(), [&format!("entity_{number}")]);
    }
}
