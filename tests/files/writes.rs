//! Writers that meet, are killed, or find files of others.

use crate::kinds::{KINDS, Net};
use pruning_burn::mask::masks;
use pruning_burn::store::{Integrity, load, save};
use pruning_tests::values::{base, same_bits};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FOLDER: &str = "PRUNING_TEST_FILES";
/// What an unfinished file is called.
const UNFINISHED: &str = ".pruning-unfinished-";

fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(UNFINISHED)).collect()
}

#[test]
fn neighbors_and_permissions_stay_whatever_is_saved() {
    for (name, make) in KINDS {
        // Burn writes this one.
        if name == "checkpoint of a learner" {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let kind = make(folder.path());
        (kind.save)();
        let expected = (kind.load)().unwrap();
        let folder = kind.file.parent().unwrap();
        let file_name = kind.file.file_name().unwrap().to_str().unwrap();
        let users = [".tmp", ".new", ".bak", ".1-0.tmp"].map(|end| folder.join(format!("{file_name}{end}")));
        users.iter().for_each(|file| fs::write(file, "mine").unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&kind.file, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let permissions = fs::metadata(&kind.file).unwrap().permissions();
        (kind.save)();
        let again = (kind.load)().unwrap();
        // Rounds are run anew, in another time, and their file is removed first.
        if name != "rounds" {
            assert_eq!(again, expected, "{name}");
            assert_eq!(fs::metadata(&kind.file).unwrap().permissions(), permissions, "{name}");
        }
        assert!(users.iter().all(|file| fs::read(file).unwrap() == b"mine"), "{name}");
        assert_eq!(unfinished(folder), Vec::<PathBuf>::new(), "{name}");
    }
}

#[test]
fn saves_of_many_threads_leave_the_file_of_one_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bpk");
    let models: Vec<Net> = (0..6).map(Net::pruned).collect();
    save(&models[0], &file).unwrap();
    std::thread::scope(|scope| {
        let savers: Vec<_> = models
            .iter()
            .map(|model| (model, &file))
            .map(|(model, file)| {
                scope.spawn(move || (0..20).for_each(|_| save(model, file).unwrap_or_else(|e| panic!("{e}"))))
            })
            .collect();
        while savers.iter().any(|saver| !saver.is_finished()) {
            let mut fresh = Net::new(99);
            assert_eq!(load(&file).and_then(|file| file.into_model(&mut fresh)).unwrap(), Integrity::Checked);
            let one = |model: &Net| same_bits(&base(model), &base(&fresh)) && masks(model) == masks(&fresh);
            assert!(models.iter().any(one));
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Not a test by itself: what the killed processes run.
#[test]
fn saves_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    // Something that another process can find.
    let held = fs::File::create(folder.join(format!("{UNFINISHED}0123456789ab"))).unwrap();
    held.lock().unwrap();
    loop {
        save(&Net::pruned(1), folder.join("model.bpk")).unwrap();
    }
}

fn child(folder: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes::saves_until_it_is_killed"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !folder.join("model.bpk").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing is saved");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn leftovers_go_once_their_process_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let (model, held) = (Net::pruned(2), folder.path().join(format!("{UNFINISHED}0123456789ab")));
    for kill in 0..4 {
        let mut child = child(folder.path());
        // It writes at the same time, to the same file and to another one.
        for name in ["model.bpk", "other.bpk"] {
            save(&model, folder.path().join(name)).unwrap();
            assert!(held.exists(), "a living process holds it");
        }
        std::thread::sleep(Duration::from_millis(7 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(unfinished(folder.path()).contains(&held));
        let mut loaded = Net::new(3);
        assert_eq!(
            load(folder.path().join("model.bpk")).and_then(|file| file.into_model(&mut loaded)).unwrap(),
            Integrity::Checked
        );
        save(&model, folder.path().join("model.bpk")).unwrap();
        assert_eq!(unfinished(folder.path()), Vec::<PathBuf>::new());
        fs::remove_file(folder.path().join("model.bpk")).unwrap();
    }
}
