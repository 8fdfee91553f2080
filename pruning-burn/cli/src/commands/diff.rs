//! `burn-prune diff`.

use crate::args::DiffArgs;
use crate::checkpoint::{Checkpoint, TensorEntry, floats, nonzero};
use crate::error::CommandError;
use crate::output::{Output, percent, shown_path, shown_shape, table};
use serde::Serialize;

/// What is told of a tensor that both files have.
#[derive(Serialize)]
struct Row {
    name: String,
    elements: usize,
    /// Elements with other bytes.
    changed: usize,
    /// Zeros in the first and in the second file.
    zeros: [usize; 2],
    /// Elements that are zero in the second file alone, and in the first alone.
    pruned: usize,
    regrown: usize,
    /// The largest difference of two values; nothing if one is not finite.
    largest: Option<f64>,
    /// Values that are not finite, in both files; nothing for a type without such.
    not_finite: Option<[usize; 2]>,
}

pub(crate) fn diff(args: &DiffArgs) -> Result<Output, CommandError> {
    let (before, after) = (Checkpoint::open(&args.before)?, Checkpoint::open(&args.after)?);
    let only = |one: &Checkpoint, other: &Checkpoint| -> Vec<String> {
        let missing = one.tensors().iter().filter(|tensor| other.place(tensor.name()).is_none());
        missing.map(|tensor| tensor.name().to_string()).collect()
    };
    let (removed, added) = (only(&before, &after), only(&after, &before));
    let (mut rows, mut other) = (Vec::new(), Vec::new());
    before.progress().begin("comparing", before.tensors().iter().map(TensorEntry::bytes).sum());
    for (index, tensor) in before.tensors().iter().enumerate() {
        let Some(place) = after.place(tensor.name()) else { continue };
        let second = &after.tensors()[place];
        if (tensor.shape(), tensor.element()) != (second.shape(), second.element()) {
            let shown = |tensor: &TensorEntry| format!("{} {}", tensor.element().name(), shown_shape(tensor.shape()));
            other.push((tensor.name().to_string(), shown(tensor), shown(second)));
            continue;
        }
        rows.push(compare(tensor, &before.read(index)?, &after.read(place)?));
    }
    before.progress().end();
    let lines = rows.iter().filter(|row| row.changed > 0).map(|row| {
        let largest = match (row.largest, row.not_finite) {
            (Some(largest), _) => format!("{largest:.3e}"),
            (None, Some(_)) => "not finite".to_string(),
            (None, None) => String::new(),
        };
        let [one, two] = row.zeros.map(|zeros| percent(zeros, row.elements));
        [
            row.name.clone(),
            percent(row.changed, row.elements),
            one,
            two,
            row.pruned.to_string(),
            row.regrown.to_string(),
            largest,
        ]
    });
    let header =
        ["tensor", "changed", "zeros before", "zeros after", "newly zero", "no longer zero", "largest difference"];
    let mut text = table(header, 1, lines);
    let same = rows.iter().filter(|row| row.changed == 0).count();
    text += &format!("\n{same} tensors are the same byte for byte\n");
    for (names, file) in [(&removed, &args.before), (&added, &args.after)] {
        if !names.is_empty() {
            text += &format!("only in {}: {}\n", file.display(), pruning_burn::shown::list(names));
        }
    }
    for (name, one, two) in &other {
        text += &format!("{name}: {one} became {two}\n");
    }
    let other: Vec<_> = other
        .into_iter()
        .map(|(name, before, after)| serde_json::json!({ "name": name, "before": before, "after": after }))
        .collect();
    let json = serde_json::json!({
        "before": shown_path(before.file()), "after": shown_path(after.file()), "same": same, "only_before": removed, "only_after": added,
        "other_form": other, "tensors": rows,
    });
    Ok(Output::new(text, json))
}

fn compare(tensor: &TensorEntry, before: &[u8], after: &[u8]) -> Row {
    let elements = tensor.elements();
    let size = (before.len() / elements.max(1)).max(1);
    let changed = before.chunks(size).zip(after.chunks(size)).filter(|(one, two)| one != two).count();
    let (one, two) = (nonzero(before, tensor.element()), nonzero(after, tensor.element()));
    let mut both = one.clone();
    both.intersect(&two);
    let [first, second, kept] = [&one, &two, &both].map(|bits| bits.count_ones());
    let values = floats(before, tensor.element()).zip(floats(after, tensor.element()));
    let not_finite =
        values.as_ref().map(|(one, two)| [one, two].map(|all| all.iter().filter(|v| !v.is_finite()).count()));
    let largest = values.and_then(|(one, two)| {
        // Values of the same bits do not differ, even where they are no numbers.
        let other = one.iter().zip(&two).filter(|(one, two)| one.to_bits() != two.to_bits());
        other.map(|(one, two)| (one - two).abs()).try_fold(0.0, |a: f64, b| b.is_finite().then(|| a.max(b)))
    });
    Row {
        name: tensor.name().to_string(),
        elements,
        changed,
        zeros: [one.len() - first, two.len() - second],
        pruned: first - kept,
        regrown: second - kept,
        largest,
        not_finite,
    }
}
