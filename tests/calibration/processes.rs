//! Two processes that share the work, and one file that has it all.

use super::{close, inputs, linear, random};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use pruning_burn::calibrate::Calibration;
use pruning_burn::store::{load, save};
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = "PRUNING_CALIBRATION_FOLDER";
const PART: &str = "PRUNING_CALIBRATION_PART";

fn batches() -> Vec<Tensor<3>> {
    let value = |i: usize| ((i * 37 % 19) as f32 - 9.0) / 5.0;
    let device = Device::flex();
    let batch = |n: usize| {
        let values: Vec<f32> = (0..n * 15).map(|i| value(i + 100 * n)).collect();
        Tensor::<1>::from_floats(values.as_slice(), &device).reshape([n, 3, 5])
    };
    (1..5).map(batch).collect()
}

fn part(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("part{part}.safetensors"))
}

/// What each of the processes does; on its own it does nothing.
#[test]
fn worker() {
    let (Ok(folder), Ok(number)) = (std::env::var(FOLDER), std::env::var(PART)) else { return };
    let (folder, number): (PathBuf, usize) = (folder.into(), number.parse().unwrap());
    let mut model = LinearConfig::new(5, 3).init(&Device::flex());
    load(folder.join("model.bpk")).unwrap().into_model(&mut model).unwrap();
    let batches = batches();
    let mine = batches.iter().skip(number).step_by(2);
    let calibration = Calibration::collect(&model, inputs(), mine, linear).unwrap();
    save(&calibration, part(&folder, number)).unwrap();
}

#[test]
fn processes_share_the_work_and_their_files_merge() {
    let folder = tempfile::tempdir().unwrap();
    let model: Linear = LinearConfig::new(5, 3).init(&Device::flex());
    save(&model, folder.path().join("model.bpk")).unwrap();
    let mut workers: Vec<_> = (0..2)
        .map(|number| {
            let mut worker = Command::new(std::env::current_exe().unwrap());
            worker.args(["--exact", "processes::worker"]).env(FOLDER, folder.path()).env(PART, number.to_string());
            worker.spawn().unwrap()
        })
        .collect();
    assert!(workers.iter_mut().all(|worker| worker.wait().unwrap().success()));
    let read = |number| load(part(folder.path(), number)).unwrap().into_calibration().unwrap();
    let merged = read(0).merge(&read(1)).unwrap();
    let file = folder.path().join("merged.safetensors");
    save(&merged, &file).unwrap();
    let merged = load(&file).unwrap().into_calibration().unwrap();
    let whole = Calibration::collect(&model, inputs(), &batches(), linear).unwrap();
    merged.check(&model).unwrap();
    assert_eq!((merged.batches(), merged.rows("weight")), (4, whole.rows("weight")));
    for need in inputs().iter() {
        close(&merged.values(need, "weight").unwrap(), &whole.values(need, "weight").unwrap(), need.name());
    }
    let other = random([1, 2, 5], 1, &Device::flex());
    let strange = Calibration::collect(&LinearConfig::new(5, 3).init(&Device::flex()), inputs(), [&other], linear);
    assert!(merged.merge(&strange.unwrap()).is_err());
}
