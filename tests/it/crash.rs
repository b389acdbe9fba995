//! `kill -9` of a training dataset in the making, at random moments: no part of a file is under its
//! name, and the next run makes the whole of it.
//!
//! `UNSKEW_KILLS=20` kills it so often, a few times otherwise; `UNSKEW_SEED` repeats a run.

use std::{
    env, fs,
    process::Stdio,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    shop::{shop, write_many_entities},
    support::Project,
};

const ROWS: u64 = 150_000;

/// What is beside the definitions and the data: the dataset, and drafts of it.
fn outputs(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.path(".")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains("train")).collect();
    names.sort();
    names
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Kills the command that makes `output` so often, and makes it again each time.
fn kill_and_repeat(output: &str, more: &[&str], kills: u64, seed: u64) {
    let project = shop();
    write_many_entities(&project, ROWS);
    let common =
        ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", output];
    let arguments = [&common[..], more].concat();
    let make = || -> Value { project.json(&arguments) };
    let started = Instant::now();
    let expected = make();
    let took = started.elapsed();
    let content = |said: &Value| said["content_hash"].clone();
    let remove = || {
        let path = project.path(output);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        removed.unwrap();
    };
    remove();
    let mut left_behind = 0;
    for kill in 0..kills {
        let mut state = seed.wrapping_add(kill).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 32;
        let moment = took.mul_f64((state % 1_000) as f64 / 1_000.0);
        let mut command = project.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let what = format!("kill {kill} after {moment:?} of {took:?}, UNSKEW_SEED={seed}");
        if project.path(output).exists() {
            project.ok(&["replay", output]);
            remove();
        }
        left_behind += outputs(&project).len();
        assert!(outputs(&project).iter().all(|name| name.starts_with('.')), "{what}");
        assert_eq!(content(&make()), content(&expected), "{what}");
        assert_eq!(outputs(&project), [output], "{what}: what it left is gone");
        assert!(project.json(&["manifest", output])["statistics"].is_array(), "{what}");
        remove();
    }
    println!("{kills} kills within {took:?}; {left_behind} left a draft; UNSKEW_SEED={seed}");
}

fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    number("UNSKEW_SEED").unwrap_or(clock.as_nanos() as u64)
}

#[test]
fn a_killed_training_set_leaves_no_part_of_a_file() {
    kill_and_repeat("train.parquet", &[], number("UNSKEW_KILLS").unwrap_or(4), seed());
}

#[test]
fn a_killed_training_set_leaves_no_part_of_a_folder() {
    let by = ["--partition-by", "customer_id"];
    kill_and_repeat("train", &by, number("UNSKEW_KILLS").unwrap_or(2), seed());
}
