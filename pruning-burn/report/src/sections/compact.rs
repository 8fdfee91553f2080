//! The bytes of a compact file.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Section, Table};
use crate::text::{self, bytes, percent};
use pruning_burn::store::CompactReport;

pub(super) fn section(report: &CompactReport) -> Section {
    let columns = vec![
        Column::text("Tensor"),
        Column::text("Format"),
        Column::number("Dense bytes"),
        Column::number("Bytes"),
        Column::number("Zeros"),
    ];
    let rows = report.tensors.iter().map(|tensor| {
        let format = format!("{:?}", tensor.format).to_lowercase();
        let cells = [Cell::Name(text::name(&tensor.path)), Cell::Text(text::cut(&format))];
        let numbers = [Cell::count(tensor.dense), Cell::count(tensor.bytes), Cell::percent(tensor.sparsity)];
        (tensor.dense as f64, cells.into_iter().chain(numbers).collect())
    });
    let caption = format!(
        "The file has {}, which is {} of the {} that its tensors take with their zeros.",
        bytes(report.file),
        percent(report.ratio()),
        bytes(report.dense())
    );
    let table = Table::new(caption, columns).with_rows(rows.collect(), TABLE);
    Section { id: "compact", title: "Compact file", parts: vec![Part::Table(table)] }
}
