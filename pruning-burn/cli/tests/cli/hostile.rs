//! Damaged and hostile files: an error each, no panic, no output left, and no more memory than the file takes.

use crate::support::{Net, Raw, containers, fails, names, of_header, raw, safetensors_file, text};
use burn::module::Module;
use burn::tensor::DType;
use safetensors::tensor::Dtype;
use std::fs;
use std::path::{Path, PathBuf};

/// Files by name, and for those in several the folder that holds them.
struct Hostile(Vec<(String, PathBuf)>);

fn entry(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

impl Hostile {
    fn add(&mut self, folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
        let file = folder.join(format!("{:02}-{name}", self.0.len()));
        fs::write(&file, bytes).unwrap();
        self.0.push((name.to_string(), file));
    }

    fn safetensors(&mut self, folder: &Path) {
        let whole = safetensors_file(&[raw("fc.weight", &[2, 2], &[1.0; 4]), raw("fc.bias", &[2], &[1.0; 2])]);
        let mut add = |name: &str, bytes: Vec<u8>| self.add(folder, &format!("{name}.safetensors"), bytes);
        add("empty", Vec::new());
        add("a-byte", vec![1]);
        add("only-the-length", whole[..8].to_vec());
        add("half-a-header", whole[..40].to_vec());
        add("half-a-download", whole[..whole.len() - 9].to_vec());
        add("a-byte-too-few", whole[..whole.len() - 1].to_vec());
        add("a-byte-too-many", [&whole[..], &[0]].concat());
        add("header-of-2-to-60", [&(1u64 << 60).to_le_bytes()[..], &whole[8..]].concat());
        add("header-of-all-ones", [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat());
        add("header-of-99-megabytes", [&99_000_000u64.to_le_bytes()[..], &whole[8..]].concat());
        add("no-json", of_header("weights, honestly", &[0; 8]));
        add("a-list", of_header("[1, 2]", &[]));
        add("deep", of_header(&"[".repeat(100_000), &[]));
        add("deep-texts", of_header(&format!("{{\"__metadata__\":{}", "{\"a\":".repeat(50_000)), &[]));
        add("not-utf-8", [&9u64.to_le_bytes()[..], b"{\"\xff\xfe\":1}"].concat());
        let mut one = |name: &str, entries: &[String], data: usize| {
            add(name, of_header(&format!("{{{}}}", entries.join(",")), &vec![0; data]))
        };
        one("overlap", &[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12)], 12);
        one("same-place", &[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 0, 8)], 8);
        one("gap", &[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 12, 20)], 20);
        one("beyond-the-file", &[entry("a", "F32", "[1000000000]", 0, 4_000_000_000)], 8);
        one("end-before-start", &[entry("a", "F32", "[2]", 8, 0)], 8);
        one("wrong-shape", &[entry("a", "F32", "[3]", 0, 8)], 8);
        one("overflowing-shape", &[entry("a", "F32", "[4294967296, 4294967296, 4]", 0, 8)], 8);
        one("unknown-type-of-2-to-63", &[entry("a", "X1", "[1]", 0, 1 << 63)], 8);
        one(
            "offsets-that-overflow",
            &[entry("a", "X1", "[1]", 0, u64::MAX), entry("b", "X1", "[1]", u64::MAX, u64::MAX)],
            8,
        );
        one("negative-shape", &[entry("a", "F32", "[-2]", 0, 8)], 8);
        one("fraction", &[entry("a", "F32", "[1.5]", 0, 8)], 8);
        one("half-bytes", &[entry("a", "F4", "[3]", 0, 2)], 2);
        one("two-of-one-name", &[entry("fc.weight", "F32", "[2]", 0, 8), entry("fc.weight", "F32", "[2]", 8, 16)], 16);
        one("no-offsets", &[r#""a":{"dtype":"F32","shape":[2]}"#.to_string()], 8);
        one(
            "texts-that-are-numbers",
            &[r#""__metadata__":{"a":1}"#.to_string(), entry("a.weight", "F32", "[1,2]", 0, 8)],
            8,
        );
        add("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n".to_vec());
    }

    fn shards(&mut self, folder: &Path) {
        let mut case = |name: &str, index: &str, files: &[(&str, Vec<u8>)]| {
            let folder = folder.join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
            let file = folder.join("model.safetensors.index.json");
            fs::write(&file, index).unwrap();
            self.0.push((name.to_string(), file));
        };
        let of = |name: &str| safetensors_file(&[raw(name, &[2, 2], &[1.0; 4])]);
        case("no-index", "{", &[]);
        case("no-map", "{\"metadata\":{}}", &[]);
        case("empty-map", "{\"weight_map\":{}}", &[]);
        case(
            "missing-shard",
            r#"{"weight_map":{"a.weight":"1.safetensors","b.weight":"2.safetensors"}}"#,
            &[("1.safetensors", of("a.weight"))],
        );
        case("passwords", r#"{"weight_map":{"a.weight":"../../../../../../../../etc/passwd"}}"#, &[]);
        case("absolute", r#"{"weight_map":{"a.weight":"/etc/passwd"}}"#, &[]);
        case("folder-above", r#"{"weight_map":{"a.weight":".."}}"#, &[]);
        case(
            "wrong-shard",
            r#"{"weight_map":{"a.weight":"1.safetensors","b.weight":"1.safetensors"}}"#,
            &[("1.safetensors", of("a.weight"))],
        );
        case(
            "in-two-shards",
            r#"{"weight_map":{"a.weight":"1.safetensors","b.weight":"2.safetensors"}}"#,
            &[
                ("1.safetensors", of("a.weight")),
                (
                    "2.safetensors",
                    safetensors_file(&[raw("a.weight", &[2, 2], &[1.0; 4]), raw("b.weight", &[1], &[1.0])]),
                ),
            ],
        );
        case(
            "twice-in-the-index",
            r#"{"weight_map":{"a.weight":"1.safetensors","a.weight":"1.safetensors"}}"#,
            &[("1.safetensors", of("a.weight"))],
        );
        case(
            "half-a-shard",
            r#"{"weight_map":{"a.weight":"1.safetensors"}}"#,
            &[("1.safetensors", of("a.weight")[..30].to_vec())],
        );
    }

    fn pickles(&mut self, folder: &Path, zip: &[u8], legacy: &[u8]) {
        let mut add = |name: &str, bytes: Vec<u8>| self.add(folder, &format!("{name}.pt"), bytes);
        add("text", b"hello, I am a model".to_vec());
        add("half-a-zip", zip[..zip.len() / 2].to_vec());
        add("zip-without-its-end", zip[..zip.len() - 10].to_vec());
        add("half-a-legacy-file", legacy[..legacy.len() / 2].to_vec());
        add("legacy-without-data", legacy[..legacy.len() - 5].to_vec());
        // A larger storage than the file has: the number of elements of the first is a byte of the pickle.
        let place = legacy.windows(4).position(|w| w == b"cpuq").unwrap() + 5;
        let mut more = legacy.to_vec();
        (more[place], more[place + 1]) = (b'K', 0xff);
        add("storage-beyond-the-file", more);
        add("strange-opcodes", [b"\x80\x02".as_slice(), &[0xfe; 64]].concat());
        add("call-of-a-program", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.".to_vec());
        add("pickle-of-a-number", b"\x80\x02K\x01.".to_vec());
        add("pickle-of-nothing", b"\x80\x02}.".to_vec());
        add("string-of-4-gigabytes", b"\x80\x02X\xff\xff\xff\xffabc".to_vec());
        add("string-of-2-to-62", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x3fabc".to_vec());
        add("deep-tuples", [b"\x80\x02".as_slice(), &b"(".repeat(100_000), &b"t".repeat(100_000), b"."].concat());
        add("empty-zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec());
        // The sizes of a tensor are bytes of the pickle: (3, 2) becomes (255, 255).
        let shape = zip.windows(5).position(|w| w == b"K\x03K\x02\x86").unwrap();
        let mut large = zip.to_vec();
        (large[shape + 1], large[shape + 3]) = (0xff, 0xff);
        add("tensor-beyond-its-storage", large);
    }

    fn burnpacks(&mut self, folder: &Path, whole: &[u8]) {
        let mut add = |name: &str, bytes: Vec<u8>| self.add(folder, &format!("{name}.bpk"), bytes);
        add("only-magic", whole[..4].to_vec());
        add("half-a-header", whole[..60].to_vec());
        add("half-a-pack", whole[..whole.len() - 500].to_vec());
        let mut huge = whole.to_vec();
        huge[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
        add("metadata-of-4-gigabytes", huge);
        let mut later = whole.to_vec();
        later[4..6].copy_from_slice(&999u16.to_le_bytes());
        add("version-999", later);
        let mut noise = whole.to_vec();
        noise[10..80].fill(0x9f);
        add("endless-lists", noise);
    }
}

/// What the process holds in memory, in bytes, where the system tells it.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

#[test]
fn every_damaged_file_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [all, good, out] = ["all", "good", "out"].map(|name| folder.path().join(name));
    [&all, &good, &out].iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let files = containers(&good);
    let read = |place: usize| fs::read(&files[place]).unwrap();
    let mut hostile = Hostile(Vec::new());
    hostile.safetensors(&all);
    hostile.shards(&all);
    hostile.pickles(&all, &read(2), &read(3));
    hostile.burnpacks(&all, &read(4));
    assert!(hostile.0.len() >= 60, "{}", hostile.0.len());
    let before = resident();
    for (name, file) in &hostile.0 {
        let output =
            out.join(if file.extension().is_some_and(|end| end == "bpk") { "out.bpk" } else { "out.safetensors" });
        let error = fails(1, &["prune", text(file), "--sparsity", "0.5", "-o", text(&output)]);
        assert!(error.starts_with("error: ") && error.contains(text(&all)), "{name}: {error}");
        assert!(error.len() < 5000, "{name}: {} bytes", error.len());
        for command in ["inspect", "diff"] {
            let other: &[&str] = if command == "diff" { &[text(&files[0])] } else { &[] };
            fails(1, &[&[command, text(file)], other].concat());
        }
        fails(1, &["expand", text(file), "-o", text(&output)]);
        fails(1, &["compact", text(file), "-o", text(&output)]);
        assert_eq!(names(&out), [""; 0], "{name}");
    }
    let grown = resident() - before;
    assert!(grown < 512 << 20, "{} MiB", grown >> 20);
}

#[test]
fn every_cut_and_every_flipped_byte_of_a_small_file_is_told_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out] = ["in.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let whole = safetensors_file(&[raw("fc.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]);
    let args = ["prune", text(&file), "--sparsity", "0.5", "-o", text(&out)];
    for end in 0..whole.len() {
        fs::write(&file, &whole[..end]).unwrap();
        fails(1, &args);
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x21;
        fs::write(&file, &bytes).unwrap();
        let (code, _, error) = crate::support::run(&args);
        assert!(code == 0 || code == 1 && error.contains("in.safetensors"), "{at}: {error}");
    }
}

#[test]
fn files_of_a_training_and_compact_files_that_lie_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let [masked, compact, out] =
        ["masked.bpk", "compact.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let mut net = Net::new(1, DType::F32);
    let pruner =
        pruning_burn::Pruner::from_toml("criterion = \"magnitude\"\nsparsity = 0.5", &pruning_plugins::all()).unwrap();
    pruner.prune(&mut net, None).unwrap();
    pruning_burn::store::save(&net, &masked).unwrap();
    assert!(fails(1, &["inspect", text(&masked)]).contains("finish"));
    net.clone().save_file(&masked).unwrap();
    assert!(fails(1, &["inspect", text(&masked)]).contains("finish"));

    // A compact file is checked by its checksum, so what lies was written so: a tensor of a terabyte in a few bytes.
    pruning_burn::store::save(pruning_burn::store::Compact(&net), &compact).unwrap();
    let error = fails(1, &["prune", text(&compact), "--sparsity", "0.5", "-o", text(&out)]);
    assert!(error.contains("expand"), "{error}");
    let told = crate::support::json(&["expand", text(&compact), "-o", text(&out)]);
    assert_eq!(told["output"], text(&out));
    let told = crate::support::json(&["inspect", text(&out)]);
    assert_eq!(told["layout"], "burn");

    let parent = [raw("a", &[2, 2], &[1.0; 4]), Raw("a.b".into(), Dtype::U8, vec![1], vec![1])];
    let file = folder.path().join("parent.safetensors");
    fs::write(&file, safetensors_file(&parent)).unwrap();
    let error = fails(1, &["compact", text(&file), "-o", text(&folder.path().join("new"))]);
    assert!(error.contains("a.b"), "{error}");
}
