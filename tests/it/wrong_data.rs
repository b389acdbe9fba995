//! Data that do not fit get a message that says which file, which column, which row, and no output.

use std::{fs, path::Path, process::Command, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
        TimestampSecondArray,
    },
    datatypes::{Field, Schema},
};
use parquet::{
    arrow::ArrowWriter,
    file::reader::{FileReader as _, SerializedFileReader},
};

use crate::{
    shop::{days, ids, shop},
    support::{Project, python, write_parquet},
};

const TRAIN: [&str; 7] =
    ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", "train.parquet"];

/// The command fails, says all of this, and leaves no file.
fn refused(project: &Project, arguments: &[&str], parts: &[&str]) {
    let said = project.fails(2, arguments);
    for part in parts {
        assert!(said.contains(part), "{said:?} should contain {part:?}");
    }
    assert!(!project.path("train.parquet").exists());
}

/// A shop whose orders are in a folder, which is empty; it is still to be applied.
fn shop_with_a_folder() -> Project {
    let project = shop();
    fs::create_dir(project.path("orders")).unwrap();
    let definitions = crate::shop::DEFINITIONS.replace("orders.parquet", "orders");
    project.write("features/shop.toml", &definitions);
    project
}

fn amounts(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Orders of one customer, whose columns are given.
fn write_orders(project: &Project, path: &str, ordered_at: ArrayRef, amount: ArrayRef) {
    let columns = [
        ("customer_id", ids(&vec![1; amount.len()])),
        ("ordered_at", ordered_at),
        ("amount", amount),
    ];
    write_parquet(&project.path(path), &columns);
}

#[test]
fn columns_of_other_types_and_missing_ones_are_named() {
    let project = shop();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1.5"]));
    write_orders(&project, "orders.parquet", days(&[0]), text);
    let expect = "source \"orders\", column \"amount\": type utf8 cannot be read as float64";
    refused(&project, &TRAIN, &[expect]);
    let columns =
        [("customer_id", ids(&[1])), ("ordered_at", days(&[0])), ("amonut", amounts(&[1.5]))];
    write_parquet(&project.path("orders.parquet"), &columns);
    let expect = "source \"orders\" has no column \"amount\"\nhint: did you mean \"amonut\"?";
    refused(&project, &TRAIN, &[expect]);
}

#[test]
fn a_column_that_is_there_twice_is_named() {
    let project = shop();
    let field = |name: &str, column: &ArrayRef| Field::new(name, column.data_type().clone(), true);
    let columns = [ids(&[1]), days(&[0]), amounts(&[1.5]), amounts(&[2.5])];
    let names = ["customer_id", "ordered_at", "amount", "amount"];
    let fields: Vec<Field> =
        names.iter().zip(&columns).map(|(name, column)| field(name, column)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec()).unwrap();
    let write = |path: &str| {
        let file = fs::File::create(project.path(path)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    write("orders.parquet");
    refused(&project, &TRAIN, &["orders.parquet", "two columns \"amount\""]);
    write("twice.parquet");
    write_orders(&project, "orders.parquet", days(&[0]), amounts(&[1.5]));
    let mut arguments = TRAIN;
    arguments[2] = "twice.parquet";
    let more = ["--timestamp-column", "ordered_at"];
    refused(
        &project,
        &[&arguments[..], &more].concat(),
        &["twice.parquet has two columns \"amount\""],
    );
}

#[test]
fn units_and_zones_that_differ_between_files_are_named() {
    let project = shop_with_a_folder();
    write_orders(&project, "orders/a.parquet", days(&[0]), amounts(&[1.5]));
    project.ok(&["apply"]);
    let millis = TimestampMillisecondArray::from(vec![883_612_800_000]);
    for times in [millis.clone(), millis.with_timezone("+02:00")] {
        write_orders(&project, "orders/b.parquet", Arc::new(times), amounts(&[2.5]));
        let expect = "orders/b.parquet: column \"ordered_at\" has type Timestamp(ms";
        refused(&project, &TRAIN, &["orders/a.parquet", expect]);
    }
}

#[test]
fn times_that_are_out_of_range_are_named() {
    let project = shop();
    let late: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]));
    write_parquet(
        &project.path("entities.parquet"),
        &[("customer_id", ids(&[1, 2])), ("event_timestamp", late)],
    );
    let expect = "the entity dataframe entities.parquet, row 1, column \"event_timestamp\": timestamp out of range";
    refused(&project, &TRAIN, &[expect]);
    let many: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    write_parquet(
        &project.path("entities.parquet"),
        &[("customer_id", ids(&[1, 2])), ("event_timestamp", many)],
    );
    let expect = "the entity dataframe entities.parquet, column \"event_timestamp\": type int64 cannot be read as timestamp";
    refused(&project, &TRAIN, &[expect]);
}

/// Writes a file of orders with pyarrow, whose amounts are encrypted, and whose footer is or is not.
fn encrypt(project: &Project, path: &str, plain_footer: bool) {
    let script = "
import base64, datetime, sys
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.parquet.encryption as pe

class Kms(pe.KmsClient):
    def __init__(self, config):
        pe.KmsClient.__init__(self)
    def wrap_key(self, key, master):
        return base64.b64encode(key)
    def unwrap_key(self, key, master):
        return base64.b64decode(key)

table = pa.table({
    'customer_id': [1],
    'ordered_at': pa.array([datetime.datetime(1998, 1, 1)], pa.timestamp('us', 'UTC')),
    'amount': [1.5],
})
config = pe.EncryptionConfiguration(
    footer_key='footer', column_keys={'column': ['amount']}, plaintext_footer=sys.argv[2] == 'true')
properties = pe.CryptoFactory(Kms).file_encryption_properties(pe.KmsConnectionConfig(), config)
with pq.ParquetWriter(sys.argv[1], table.schema, encryption_properties=properties) as writer:
    writer.write_table(table)
";
    let path = project.path(path);
    let plain_footer = plain_footer.to_string();
    let arguments = ["-c", script, path.to_str().unwrap(), &plain_footer];
    let output = Command::new(python()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_encrypted_file_is_told_apart_from_a_damaged_one() {
    let project = shop();
    encrypt(&project, "secret.parquet", false);
    let mut arguments = TRAIN;
    arguments[2] = "secret.parquet";
    let expect = "the entity dataframe cannot be read: secret.parquet is encrypted";
    refused(&project, &arguments, &[expect]);
    let expect = "orders.parquet is encrypted, and there is no key to read it with\nhint: write the file without encryption";
    encrypt(&project, "orders.parquet", false);
    refused(&project, &TRAIN, &[expect]);
}

/// Overwrites the pages of a column.
fn damage(path: &Path, column: usize) {
    let footer = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let (start, length) = footer.metadata().row_group(0).column(column).byte_range();
    let mut bytes = fs::read(path).unwrap();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_column_that_cannot_be_read_is_named_with_its_file() {
    let project = shop_with_a_folder();
    for file in ["orders/a.parquet", "orders/b.parquet", "orders/c.parquet"] {
        write_orders(&project, file, days(&[0, 1]), amounts(&[1.5, 2.5]));
    }
    project.ok(&["apply"]);
    project.publish("transforms/scale");
    let log = "commerce/scale@1.0.0#natural_log";
    let run = [
        "transform",
        "run",
        log,
        "--input",
        "orders",
        "--column",
        "x=amount",
        "-o",
        "train.parquet",
    ];
    let expect = "orders/b.parquet is damaged, or encrypted: row group 0, column \"amount\": ";
    let check = || {
        refused(&project, &TRAIN, &[expect]);
        refused(&project, &["materialize"], &[expect]);
        refused(&project, &run, &[expect]);
    };
    damage(&project.path("orders/b.parquet"), 2);
    check();
    encrypt(&project, "orders/b.parquet", true);
    check();
}

#[test]
fn folders_that_are_empty_or_cannot_be_written_to_are_named() {
    let project = shop_with_a_folder();
    fs::copy(project.path("orders.parquet"), project.path("orders/a.parquet")).unwrap();
    project.ok(&["apply"]);
    let mut arguments = TRAIN;
    // Nobody, whatever the rights, can make a file there.
    arguments[6] = "/sys/train.parquet";
    refused(&project, &arguments, &["/sys/train.parquet was not written: "]);
    fs::remove_file(project.path("orders/a.parquet")).unwrap();
    let expect = "orders has no Parquet files\nhint: their names end in .parquet";
    refused(&project, &TRAIN, &["source \"orders\": the folder ", expect]);
}
