//! Many processes at once.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::support::Project;

#[test]
fn sixteen_processes_apply_at_once() {
    let project = Project::new();
    // Sixteen checkouts of one registry, each with an entity of its own.
    for number in 0..16 {
        let folder = format!("checkout{number}");
        fs::create_dir_all(project.path(&format!("{folder}/features"))).unwrap();
        project.write(&format!("{folder}/unskew.toml"), "[project]\nname = \"probe\"\nregistry = \"../registry\"\n");
        let text = format!("[entity.entity_{number}]\njoin_keys = {{ id = \"int64\" }}\n");
        project.write(&format!("{folder}/features/entity.toml"), &text);
    }
    let children: Vec<_> = (0..16)
        .map(|number| {
            let folder = format!("checkout{number}");
            let mut command = project.command(&["--project", &folder, "--json", "apply"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut sequences = Vec::new();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let applied: Value = serde_json::from_slice(&output.stdout).unwrap();
        sequences.push((applied["snapshot"].as_u64().unwrap(), number));
    }
    // Every one is a snapshot of its own, readable, with what its process applied.
    sequences.sort_unstable();
    let numbers: Vec<u64> = sequences.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    for (sequence, number) in sequences {
        let text = fs::read_to_string(project.path(&format!("registry/snapshots/{sequence:020}.json"))).unwrap();
        let snapshot: Value = serde_json::from_str(&text).unwrap();
        let entities = snapshot["state"]["definitions"]["entities"].as_object().unwrap();
        assert_eq!(entities.keys().collect::<Vec<_>>(), [&format!("entity_{number}")]);
    }
}
