//! Wrong definitions and what is said about them.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use crate::{
    definition::{
        File, Input, State, parse,
        testing::{checked, edited, environment, files, shown, state},
    },
    digest::Digest,
    name::TransformName,
};

/// Replaces each first text by its second, and compares all that is said with `expect`, without
/// the white space in front of it.
fn check(edits: &[(&str, &str)], expect: &str) {
    let said = checked(edits).err().unwrap_or_default();
    assert_eq!(shown(&said), expect.trim(), "after {edits:?}");
}

#[test]
fn what_is_no_toml_is_reported_alone() {
    check(
        &[(r#"ttl = "365d""#, r#"ttl = "365d"#)],
        r#"
customer.toml:23: not TOML: invalid basic string, expected `"`
    ttl = "365d
               ^
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"ttl = "365d"#), ("score = {", "source = {")],
        r#"
customer.toml:23: not TOML: invalid basic string, expected `"`
    ttl = "365d
               ^
models.toml:18: commerce/user_age@1.0.0#risk has no output "source" for feature "source"
    features = { source = { type = "float64", default = 0.5 } }
                 ^^^^^^
hint: there are: score
models.toml:21: feature view "risk" has no feature "score"
    features = ["purchases:spend_30d", "basket", "risk:score"]
                                                 ^^^^^^^^^^^^
hint: there are: source
"#,
    );
    check(
        &[("[entity.customer]", "[entity.customer")],
        r#"
customer.toml:1: not TOML: unclosed table, expected `]`
    [entity.customer
                    ^
"#,
    );
    check(
        &[(r#"owner = "growth@example.com""#, "owner = \"growth@example.com\"\nowner = \"me\"")],
        r#"
customer.toml:5: not TOML: duplicate key
    owner = "me"
    ^^^^^
"#,
    );
}

#[test]
fn keys_and_their_values() {
    check(
        &[("[entity.customer]", "[entty.customer]")],
        r#"
customer.toml:1: not a kind of definition: "entty"
    [entty.customer]
     ^^^^^
hint: did you mean "entity"?
"#,
    );
    check(
        &[(
            "[entity.customer]\njoin_keys = { customer_id = \"int64\" }",
            "[entity]\ncustomer = \"int64\"",
        )],
        r#"
customer.toml:2: "customer" is not part of any entity
    customer = "int64"
    ^^^^^^^^
hint: every entity has a name, as in [entity.a_name]
"#,
    );
    check(
        &[
            ("[entity.customer]\n", "entity = 5\n"),
            ("join_keys = { customer_id = \"int64\" }\n", ""),
            (
                "description = \"Somebody who buys.\"\nowner = \"growth@example.com\"\nteam = \"growth\"\ntags = [\"core\", \"people\"]\n",
                "",
            ),
        ],
        r#"
customer.toml:1: "entity" is not a table
    entity = 5
    ^^^^^^
hint: every entity has a name, as in [entity.a_name]
"#,
    );
    check(
        &[(r#"source = "history""#, r#"sorce = "history""#)],
        r#"
customer.toml:22: feature view "purchases" has no key "sorce"
    sorce = "history"
    ^^^^^
hint: did you mean "source"?
"#,
    );
    check(
        &[(r#"source = "history""#, r#"colour = "red""#)],
        r#"
customer.toml:20: feature view "purchases" lacks "source"
    [feature_view.purchases]
                  ^^^^^^^^^
hint: add source = "orders"
customer.toml:22: feature view "purchases" has no key "colour"
    colour = "red"
    ^^^^^^
hint: there are: entities, source, ttl, online, freshness, store, transform, inputs, params, on_error, limits, features, description, owner, team, tags
"#,
    );
    check(
        &[("source = \"history\"\n", "")],
        r#"
customer.toml:20: feature view "purchases" lacks "source"
    [feature_view.purchases]
                  ^^^^^^^^^
hint: add source = "orders"
"#,
    );
    check(
        &[(r#"ttl = "365d""#, "ttl = 365")],
        r#"
customer.toml:23: "ttl" of feature view "purchases" is an integer and should be a string
    ttl = 365
          ^^^
hint: as in ttl = "30d"
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"ttl = "365 days""#)],
        r#"
customer.toml:23: "ttl" of feature view "purchases": not a span of time: "365 days"
    ttl = "365 days"
          ^^^^^^^^^^
hint: a span is a count and a unit (w, d, h, m, s, ms, us), as in 30d or 1d12h
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"ttl = "0s""#)],
        r#"
customer.toml:23: "ttl" of feature view "purchases" is 0
    ttl = "0s"
          ^^^^
hint: leave it out if rows of any age will do
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"freshness = { max_age = "0s", sample = 0, often = true }"#)],
        r#"
customer.toml:23: "max_age" of "freshness" of feature view "purchases" is 0
    freshness = { max_age = "0s", sample = 0, often = true }
                            ^^^^
hint: leave it out if rows of any age will do
customer.toml:23: "sample" of "freshness" of feature view "purchases" is 0 and should be an integer from 1 to 10000
    freshness = { max_age = "0s", sample = 0, often = true }
                                           ^
hint: as in sample = 100
customer.toml:23: "freshness" of feature view "purchases" has no key "often"
    freshness = { max_age = "0s", sample = 0, often = true }
                                              ^^^^^
hint: there are: max_age, sample
"#,
    );
    check(
        &[(r#"ttl = "365d""#, "freshness = \"1d\"")],
        r#"
customer.toml:23: "freshness" of feature view "purchases" is a string and should be a table
    freshness = "1d"
                ^^^^
hint: as in freshness = { max_age = "24h", sample = 100 }
"#,
    );
    let limited = |limits: &str| format!("on_error = \"fail\"\nlimits = {limits}");
    check(
        &[("on_error = \"fail\"", &limited("{ rows = 1_001, memory_bytes = 5, time = 1 }"))],
        r#"
models.toml:8: rows of the calls of commerce/basket@1.0.0#basket over the project's: limit 1000, requested 1001
    limits = { rows = 1_001, memory_bytes = 5, time = 1 }
    ^^^^^^
hint: the most there is for a call stands in [limits] of unskew.toml
models.toml:8: "memory_bytes" of "limits" of feature view "basket" is 5 and should be an integer from 65536 to 4294967295
    limits = { rows = 1_001, memory_bytes = 5, time = 1 }
                                            ^
hint: as in memory_bytes = 33_554_432
models.toml:8: "limits" of feature view "basket" has no key "time"
    limits = { rows = 1_001, memory_bytes = 5, time = 1 }
                                               ^^^^
hint: there are: deadline, memory_bytes, rows, input_bytes, output_bytes, error_text_bytes
"#,
    );
    check(
        &[("on_error = \"fail\"", &limited("{ deadline = \"0s\" }"))],
        r#"
models.toml:8: "deadline" of "limits" of feature view "basket" is 0
    limits = { deadline = "0s" }
                          ^^^^
hint: leave it out to have the project's
"#,
    );
    check(
        &[(r#"ttl = "365d""#, "freshness = { max_age = \"1d\" }\nonline = false")],
        r#"
customer.toml:23: "freshness" is there with "online = false"
    freshness = { max_age = "1d" }
    ^^^^^^^^^
hint: it is about rows in the online store
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"online = "no""#)],
        r#"
customer.toml:23: "online" of feature view "purchases" is a string and should be true or false
    online = "no"
             ^^^^
hint: as in online = false
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"store = "fruad""#)],
        r#"
customer.toml:23: there is no online store "fruad"
    store = "fruad"
            ^^^^^^^
hint: did you mean "fraud"?
"#,
    );
    check(
        &[(r#"tags = ["core", "people"]"#, r#"tags = "core""#)],
        r#"
customer.toml:6: "tags" of entity "customer" is a string and should be a list of strings
    tags = "core"
           ^^^^^^
hint: as in tags = ["churn"]
"#,
    );
    check(
        &[(r#"tags = ["core", "people"]"#, r#"tags = ["core", 1]"#)],
        r#"
customer.toml:6: an item of "tags" of entity "customer" is an integer and should be a string
    tags = ["core", 1]
                    ^
hint: as in tags = ["churn"]
"#,
    );
    check(
        &[(r#"team = "growth""#, r#"team = """#)],
        r#"
customer.toml:5: "team" of entity "customer" is empty and should be a string with something in it
    team = ""
           ^^
hint: as in team = "growth"
"#,
    );
    check(
        &[(r#"entities = ["customer"]"#, "entities = []")],
        r#"
customer.toml:21: "entities" of feature view "purchases" is empty and should be a list of entities
    entities = []
    ^^^^^^^^
hint: as in entities = ["customer"]
"#,
    );
    check(
        &[(r#"on_error = "fail""#, r#"on_error = "ignore""#)],
        r#"
models.toml:7: "on_error" of feature view "basket" is "ignore" and should be "null" or "fail"
    on_error = "ignore"
               ^^^^^^^^
hint: as in on_error = "fail"
"#,
    );
    check(
        &[(r#"features = { unit_price = "float64" }"#, "features = {}")],
        r#"
models.toml:8: "features" of feature view "basket" is empty and should be a table of names and types
    features = {}
    ^^^^^^^^
hint: as in features = { spend_30d = "float64" }
"#,
    );
    check(
        &[(r#"features = { unit_price = "float64" }"#, r#"features = ["unit_price"]"#)],
        r#"
models.toml:8: "features" of feature view "basket" is a list and should be a table
    features = ["unit_price"]
               ^^^^^^^^^^^^^^
hint: as in features = { spend_30d = "float64" }
"#,
    );
    check(
        &[(r#"features = ["purchases:spend_30d", "basket", "risk:score"]"#, "features = []")],
        r#"
models.toml:21: "features" of feature service "churn" is empty and should be a list of features
    features = []
    ^^^^^^^^
hint: as in features = ["purchases:spend_30d", "basket"]
"#,
    );
    check(
        &[(r#"features = ["purchases:spend_30d", "basket", "risk:score"]"#, "")],
        r#"
models.toml:20: feature service "churn" lacks "features"
    [feature_service.churn]
                     ^^^^^
hint: add features = ["purchases:spend_30d", "basket"]
"#,
    );
}

#[test]
fn names() {
    check(
        &[
            ("[entity.customer]", "[entity.Customer]"),
            (r#"entities = ["customer"]"#, r#"entities = ["Customer"]"#),
            (r#"entities = ["customer"]"#, r#"entities = ["Customer"]"#),
        ],
        r#"
customer.toml:1: not a name: entity "Customer"
    [entity.Customer]
            ^^^^^^^^
hint: a name is lower-case letters, digits and single underscores, starts with a letter and has at most 63 characters
"#,
    );
    check(
        &[
            (
                r#"unit_price = "float64""#,
                r#"unit__price = { type = "float64", column = "unit_price" }"#,
            ),
            (r#""basket", "#, ""),
        ],
        r#"
models.toml:8: not a name: feature "unit__price" of feature view "basket"
    features = { unit__price = { type = "float64", column = "unit_price" } }
                 ^^^^^^^^^^^
hint: a name is lower-case letters, digits and single underscores, starts with a letter and has at most 63 characters
"#,
    );
    check(
        &[
            ("[on_demand_feature_view.risk]", "[on_demand_feature_view.purchases]"),
            (r#", "risk:score""#, ""),
        ],
        r#"
models.toml:15: the name of on-demand feature view "purchases" is taken
    [on_demand_feature_view.purchases]
                            ^^^^^^^^^
hint: it is taken at customer.toml:20
"#,
    );
    check(
        &[
            ("[on_demand_feature_view.risk]", "[on_demand_feature_view.request]"),
            (r#", "risk:score""#, ""),
        ],
        r#"
models.toml:15: on-demand feature view "request" cannot have this name
    [on_demand_feature_view.request]
                            ^^^^^^^
hint: inputs write request:column for what a request brings
"#,
    );
    check(
        &[("spend_30d = {", "created = {"), (r#""purchases:spend_30d", "#, "")],
        r#"
customer.toml:27: no feature can be called "created"
    created = { type = "float64", column = "spend", default = 0, description = "In dollars." }
    ^^^^^^^
hint: rows have columns of the names event_timestamp and created besides
"#,
    );
    check(
        &[("spend_30d = {", "customer_id = {"), (r#""purchases:spend_30d", "#, "")],
        r#"
customer.toml:27: feature "customer_id" has the name of a join key of entity "customer"
    customer_id = { type = "float64", column = "spend", default = 0, description = "In dollars." }
    ^^^^^^^^^^^
hint: call the feature otherwise, and name its column
"#,
    );
    check(
        &[
            ("score = {", "event_timestamp = {"),
            ("default = 0.5", r#"default = 0.5, column = "score""#),
            (r#", "risk:score""#, ""),
        ],
        r#"
models.toml:18: no feature can be called "event_timestamp"
    features = { event_timestamp = { type = "float64", default = 0.5, column = "score" } }
                 ^^^^^^^^^^^^^^^
hint: rows have columns of the names event_timestamp and created besides
"#,
    );
    check(
        &[(r#""request:amount""#, r#""request:created""#)],
        r#"
models.toml:17: no join key and no request column can be called "created"
    inputs = { age = "user_age:age", amount = "request:created" }
                                              ^^^^^^^^^^^^^^^^^
hint: rows have columns of the names event_timestamp and created besides
"#,
    );
}

#[test]
fn entities_and_join_keys() {
    check(
        &[("join_keys = { customer_id = \"int64\" }\n", "")],
        r#"
customer.toml:1: entity "customer" lacks "join_keys"
    [entity.customer]
            ^^^^^^^^
hint: add join_keys = { customer_id = "int64" }
"#,
    );
    check(
        &[(r#"join_keys = { customer_id = "int64" }"#, "join_keys = {}")],
        r#"
customer.toml:2: "join_keys" of entity "customer" is empty and should be a table of names and types
    join_keys = {}
    ^^^^^^^^^
hint: as in join_keys = { customer_id = "int64" }
"#,
    );
    check(
        &[(r#"customer_id = "int64""#, r#"customer_id = "float64""#)],
        r#"
customer.toml:2: join key "customer_id" cannot be float64
    join_keys = { customer_id = "float64" }
                                ^^^^^^^^^
hint: a join key is one of: boolean, int32, int64, utf8, binary, date, timestamp
"#,
    );
    check(
        &[(r#"customer_id = "int64""#, r#"customer_id = "int46""#)],
        r#"
customer.toml:2: join key "customer_id": not a type: "int46"
    join_keys = { customer_id = "int46" }
                                ^^^^^^^
hint: did you mean "int64"?
"#,
    );
    check(
        &[(r#"customer_id = "int64""#, r#"customer_id = "int32""#)],
        r#"
customer.toml:21: join key "customer_id" of entity "customer" has type int32, and column "customer_id" of source "history" type int64
    entities = ["customer"]
                ^^^^^^^^^^
hint: a column of int64 can be read as int64; a SQL source can cast it to other types
"#,
    );
    check(
        &[(r#"customer_id = "int64""#, r#"customer_id = "int64", shop_id = "utf8""#)],
        r#"
customer.toml:21: source "history" has no column "shop_id" for join key "shop_id" of entity "customer"
    entities = ["customer"]
                ^^^^^^^^^^
hint: there are: customer_id, first_purchase_at, more, ordered_at, purchases_30d, spend
models.toml:2: source "orders" has no column "shop_id" for join key "shop_id" of entity "customer"
    entities = ["customer"]
                ^^^^^^^^^^
hint: there are: amount_usd, country, customer_id, items, ordered_at, price, tax, written_at
"#,
    );
    check(
        &[(r#"entities = ["customer"]"#, r#"entities = ["costumer"]"#)],
        r#"
customer.toml:21: there is no entity "costumer"
    entities = ["costumer"]
                ^^^^^^^^^^
hint: did you mean "customer"?
"#,
    );
    check(
        &[(r#"entities = ["customer"]"#, r#"entities = ["customer", "customer"]"#)],
        r#"
customer.toml:21: entity "customer" is there twice
    entities = ["customer", "customer"]
                            ^^^^^^^^^^
hint: name it once
"#,
    );
    check(
        &[(
            "[source.orders]",
            "[entity.person]\njoin_keys = { customer_id = \"utf8\" }\n\n[source.orders]",
        )],
        r#"
customer.toml:9: column "customer_id" of entity rows is utf8 here and int64 at customer.toml:2
    join_keys = { customer_id = "utf8" }
                                ^^^^^^
hint: join keys and request columns have one type each: rename one
"#,
    );
    check(
        &[(r#""request:amount""#, r#""request:customer_id""#)],
        r#"
models.toml:17: column "customer_id" of entity rows is float64 here and int64 at customer.toml:2
    inputs = { age = "user_age:age", amount = "request:customer_id" }
                                              ^^^^^^^^^^^^^^^^^^^^^
hint: join keys and request columns have one type each: rename one
"#,
    );
}

#[test]
fn sources() {
    check(
        &[("path = \"data/orders.parquet\"\n", "")],
        r#"
customer.toml:8: source "orders" has neither "path" nor "sql"
    [source.orders]
            ^^^^^^
hint: add path = "data/orders.parquet", or a query over other sources
"#,
    );
    check(
        &[(
            r#"path = "data/orders.parquet""#,
            "path = \"data/orders.parquet\"\nsql = \"SELECT 1\"",
        )],
        r#"
customer.toml:10: source "orders" has both "path" and "sql"
    sql = "SELECT 1"
    ^^^
hint: a query names the sources that it reads: make two sources of this one
"#,
    );
    check(
        &[("timestamp = \"ordered_at\"\ncreated", "created")],
        r#"
customer.toml:8: source "orders" lacks "timestamp"
    [source.orders]
            ^^^^^^
hint: add timestamp = "ordered_at"
"#,
    );
    check(
        &[(r#"timestamp = "ordered_at""#, r#"timestamp = "orderd_at""#)],
        r#"
customer.toml:10: source "orders" has no column "orderd_at" for "timestamp"
    timestamp = "orderd_at"
                ^^^^^^^^^^^
hint: did you mean "ordered_at"?
"#,
    );
    check(
        &[(r#"timestamp = "ordered_at""#, r#"timestamp = "country""#)],
        r#"
customer.toml:10: "timestamp" has type timestamp, and column "country" of source "orders" type utf8
    timestamp = "country"
                ^^^^^^^^^
hint: a column of utf8 can be read as utf8; a SQL source can cast it to other types
"#,
    );
    check(
        &[(r#"timestamp = "ordered_at""#, r#"timestamp = "price""#)],
        r#"
customer.toml:10: "timestamp" has type timestamp, and column "price" of source "orders" the Arrow type Decimal128(10, 2)
    timestamp = "price"
                ^^^^^^^
hint: Decimal128(10, 2) has no counterpart here; a SQL source can cast the column
"#,
    );
    check(
        &[(r#"created = "written_at""#, r#"created = "items""#)],
        r#"
customer.toml:11: "created" has type timestamp, and column "items" of source "orders" type int32
    created = "items"
              ^^^^^^^
hint: a column of int32 can be read as int32 or int64 or float64; a SQL source can cast it to other types
"#,
    );
    check(
        &[(r#"created = "written_at""#, r#"visible = "created""#)],
        r#"
customer.toml:11: source "orders" is visible from its created time on, and does not say which column that is
    visible = "created"
    ^^^^^^^
hint: add created = "written_at"
"#,
    );
    check(
        &[(r#"created = "written_at""#, r#"visible = "later""#)],
        r#"
customer.toml:11: "visible" of source "orders" is "later" and should be "event" or "created"
    visible = "later"
              ^^^^^^^
hint: as in visible = "created"
"#,
    );
    check(
        &[(
            "[source.orders]",
            "[source.lost]\npath = \"data/lost.parquet\"\ntimestamp = \"at\"\n\n[source.orders]",
        )],
        r#"
customer.toml:9: source "lost" cannot be read: no such file
    path = "data/lost.parquet"
           ^^^^^^^^^^^^^^^^^^^
hint: there are: orders.parquet
"#,
    );
}

#[test]
fn features_of_columns() {
    check(
        &[(r#"purchases_30d = "int64""#, r#"purchases_7d = "int64""#)],
        r#"
customer.toml:26: source "history" has no column "purchases_7d" for feature "purchases_7d"
    purchases_7d = "int64"
    ^^^^^^^^^^^^
hint: did you mean "purchases_30d"?
"#,
    );
    check(
        &[(r#"purchases_30d = "int64""#, r#"purchases_30d = "int32""#)],
        r#"
customer.toml:26: feature "purchases_30d" has type int32, and column "purchases_30d" of source "history" type int64
    purchases_30d = "int32"
    ^^^^^^^^^^^^^
hint: a column of int64 can be read as int64; a SQL source can cast it to other types
"#,
    );
    check(
        &[(r#"purchases_30d = "int64""#, r#"purchases_30d = "integer""#)],
        r#"
customer.toml:26: feature "purchases_30d" of feature view "purchases": not a type: "integer"
    purchases_30d = "integer"
                    ^^^^^^^^^
hint: there are: boolean, int32, int64, float32, float64, utf8, binary, date, timestamp, list<int64>, list<float32>, list<float64>, list<utf8>
"#,
    );
    check(
        &[(r#"purchases_30d = "int64""#, "purchases_30d = 64")],
        r#"
customer.toml:26: feature "purchases_30d" of feature view "purchases" is an integer and should be a string
    purchases_30d = 64
                    ^^
hint: as in features = { spend_30d = "float64" }
"#,
    );
    check(
        &[(r#"purchases_30d = "int64""#, r#"purchases_30d = { column = "purchases_30d" }"#)],
        r#"
customer.toml:26: feature "purchases_30d" of feature view "purchases" lacks "type"
    purchases_30d = { column = "purchases_30d" }
    ^^^^^^^^^^^^^
hint: add type = "float64"
"#,
    );
    check(
        &[(
            r#"purchases_30d = "int64""#,
            r#"purchases_30d = { type = "int64", colum = "purchases_30d" }"#,
        )],
        r#"
customer.toml:26: feature "purchases_30d" of feature view "purchases" has no key "colum"
    purchases_30d = { type = "int64", colum = "purchases_30d" }
                                      ^^^^^
hint: did you mean "column"?
"#,
    );
    check(
        &[("default = 0,", r#"default = "none","#)],
        r#"
customer.toml:27: "default" of feature "spend_30d" of feature view "purchases": "none" is not a value of type float64
    spend_30d = { type = "float64", column = "spend", default = "none", description = "In dollars." }
                                                                ^^^^^^
"#,
    );
    check(
        &[("default = 0,", "default = { a = 1 },")],
        r#"
customer.toml:27: "default" of feature "spend_30d" of feature view "purchases" is no constant
    spend_30d = { type = "float64", column = "spend", default = { a = 1 }, description = "In dollars." }
                                                                ^^^^^^^^^
hint: a constant is a number of 64 bits, a text, true, false, a date or time, or a list
"#,
    );
    check(
        &[("default = 0,", "default = 99999999999999999999,")],
        r#"
customer.toml:27: "default" of feature "spend_30d" of feature view "purchases" is no constant
    spend_30d = { type = "float64", column = "spend", default = 99999999999999999999, description = "In 
                                                                ^^^^^^^^^^^^^^^^^^^^
hint: a constant is a number of 64 bits, a text, true, false, a date or time, or a list
"#,
    );
    check(
        &[(r#"ttl = "365d""#, r#"inputs = { amount = "spend" }"#)],
        r#"
customer.toml:23: "inputs" of feature view "purchases" is there without "transform" and should be left out
    inputs = { amount = "spend" }
    ^^^^^^
hint: as in inputs = { amount = "amount_usd" }
"#,
    );
    check(
        &[
            (r#"source = "history""#, r#"source = "orders""#),
            (
                "spend_30d = {",
                "a = { type = \"int64\", column = \"items\" }\nb = { type = \"float64\", column = \"items\" }\nspend_30d = {",
            ),
            ("purchases_30d = \"int64\"\n", ""),
            (r#""spend""#, r#""amount_usd""#),
            (r#""float64", column = "amount_usd""#, r#""float64", column = "price""#),
            (r#""timestamp""#, r#"{ type = "timestamp", column = "ordered_at" }"#),
        ],
        r#"
customer.toml:27: column "items" is read as int64 for feature "a" and as float64 for feature "b"
    b = { type = "float64", column = "items" }
                                     ^^^^^^^
hint: read it as one type, or give it two names in a SQL source
customer.toml:28: feature "spend_30d" has type float64, and column "price" of source "orders" the Arrow type Decimal128(10, 2)
    spend_30d = { type = "float64", column = "price", default = 0, description = "In dollars." }
                                             ^^^^^^^
hint: Decimal128(10, 2) has no counterpart here; a SQL source can cast the column
"#,
    );
}

#[test]
fn transforms() {
    check(
        &[(
            r#"transform = "commerce/basket@1.0.0#basket""#,
            r#"transform = "commerce/basket@1.0#basket""#,
        )],
        r#"
models.toml:4: "transform" of feature view "basket": not a function of a transform: "commerce/basket@1.0#basket"
    transform = "commerce/basket@1.0#basket"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: a function is team/name@version#function, as in commerce/user_age@1.0.0#years_since_registration
"#,
    );
    check(
        &[(
            r#"transform = "commerce/basket@1.0.0#basket""#,
            r#"transfrom = "commerce/basket@1.0.0#basket""#,
        )],
        r#"
models.toml:4: feature view "basket" has no key "transfrom"
    transfrom = "commerce/basket@1.0.0#basket"
    ^^^^^^^^^
hint: did you mean "transform"?
"#,
    );
    check(
        &[(
            r#"transform = "commerce/basket@1.0.0#basket""#,
            r#"transform = "commerce/basket@1.0.0#baskt""#,
        )],
        r#"
models.toml:4: commerce/basket@1.0.0 has no function "baskt"
    transform = "commerce/basket@1.0.0#baskt"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: did you mean "basket"?
"#,
    );
    check(
        &[
            ("user_age@1.0.0#years", "user_age@2.0.0#years"),
            ("user_age@1.0.0#risk", "user_age@2.0.0#risk"),
        ],
        r#"
models.toml:11: commerce/user_age@2.0.0: not published
    transform = "commerce/user_age@2.0.0#years_since"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: the latest is 1.0.0
"#,
    );
    check(
        &[(
            r#"inputs = { amount = "amount_usd" }"#,
            r#"inputs = { amount = "amount_usd", itms = "country" }"#,
        )],
        r#"
models.toml:5: commerce/basket@1.0.0#basket has no input "itms"
    inputs = { amount = "amount_usd", itms = "country" }
                                      ^^^^
hint: did you mean "items"?
"#,
    );
    check(
        &[("inputs = { amount = \"amount_usd\" }\n", "")],
        r#"
models.toml:4: commerce/basket@1.0.0#basket lacks its input "amount" (float64)
    transform = "commerce/basket@1.0.0#basket"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: add inputs = { amount = "amount_usd" }
"#,
    );
    check(
        &[
            ("inputs = { amount = \"amount_usd\" }\n", ""),
            ("source = \"orders\"\ntransform", "source = \"history\"\ntransform"),
        ],
        r#"
models.toml:4: commerce/basket@1.0.0#basket lacks its input "items" (int64)
    transform = "commerce/basket@1.0.0#basket"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: add inputs = { items = … } with a column of its source
models.toml:4: commerce/basket@1.0.0#basket lacks its input "amount" (float64)
    transform = "commerce/basket@1.0.0#basket"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: add inputs = { amount = … } with a column of its source
"#,
    );
    check(
        &[(r#"inputs = { amount = "amount_usd" }"#, r#"inputs = { amount = "country" }"#)],
        r#"
models.toml:5: input "amount" of commerce/basket@1.0.0#basket has type float64, and column "country" of source "orders" type utf8
    inputs = { amount = "country" }
                        ^^^^^^^^^
hint: a column of utf8 can be read as utf8; a SQL source can cast it to other types
"#,
    );
    check(
        &[(r#"inputs = { amount = "amount_usd" }"#, r#"inputs = { amount = "items" }"#)],
        r#"
models.toml:5: column "items" is read as int64 for input "items" of commerce/basket@1.0.0#basket and as float64 for input "amount" of commerce/basket@1.0.0#basket
    inputs = { amount = "items" }
                        ^^^^^^^
hint: read it as one type, or give it two names in a SQL source
"#,
    );
    check(
        &[(r#"inputs = { amount = "amount_usd" }"#, "inputs = { amount = 5 }")],
        r#"
models.toml:5: input "amount" of feature view "basket" is an integer and should be a string
    inputs = { amount = 5 }
                        ^
hint: as in inputs = { amount = "amount_usd" }
"#,
    );
    check(
        &[("params = { mean = 37.2 }\n", "")],
        r#"
models.toml:4: commerce/basket@1.0.0#basket lacks its param "mean" (float64)
    transform = "commerce/basket@1.0.0#basket"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: add params = { mean = … }
"#,
    );
    check(
        &[("params = { mean = 37.2 }", "params = { maen = 37.2 }")],
        r#"
models.toml:6: commerce/basket@1.0.0#basket has no param "maen"
    params = { maen = 37.2 }
               ^^^^
hint: did you mean "mean"?
"#,
    );
    check(
        &[("params = { mean = 37.2 }", r#"params = { mean = "high" }"#)],
        r#"
models.toml:6: param "mean" of commerce/basket@1.0.0#basket: "high" is not a value of type float64
    params = { mean = "high" }
                      ^^^^^^
"#,
    );
    check(
        &[("params = { mean = 37.2 }", "params = { mean = 37.2, std = 11 }")],
        r#"
models.toml:6: commerce/basket@1.0.0#basket has no param "std"
    params = { mean = 37.2, std = 11 }
                            ^^^
hint: there are: mean
"#,
    );
    check(
        &[(r#"unit_price = "float64""#, r#"price = "float64""#)],
        r#"
models.toml:8: commerce/basket@1.0.0#basket has no output "price" for feature "price"
    features = { price = "float64" }
                 ^^^^^
hint: there are: unit_price, size
"#,
    );
    check(
        &[(r#"unit_price = "float64""#, r#"unit_price = "float32""#)],
        r#"
models.toml:8: feature "unit_price" has type float32, and output "unit_price" of commerce/basket@1.0.0#basket type float64
    features = { unit_price = "float32" }
                              ^^^^^^^^^
hint: a feature has the type of its output; declare float64
"#,
    );
}

#[test]
fn on_demand_feature_views() {
    check(
        &[("transform = \"commerce/user_age@1.0.0#years_since\"\n", "")],
        r#"
models.toml:10: on-demand feature view "user_age" lacks "transform"
    [on_demand_feature_view.user_age]
                            ^^^^^^^^
hint: add transform = "commerce/basket@1.0.0#basket"
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""purchases.first_purchase_at""#)],
        r#"
models.toml:12: input "moment" of on-demand feature view "user_age": not an input: "purchases.first_purchase_at"
    inputs = { moment = "purchases.first_purchase_at" }
                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: an input is "view:feature", "request:column" or "event_time"
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""request:First""#)],
        r#"
models.toml:12: input "moment" of on-demand feature view "user_age": not a request column: "First"
    inputs = { moment = "request:First" }
                        ^^^^^^^^^^^^^^^
hint: a name is lower-case letters, digits and single underscores, starts with a letter and has at most 63 characters
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""purchase:first_purchase_at""#)],
        r#"
models.toml:12: there is no feature view "purchase"
    inputs = { moment = "purchase:first_purchase_at" }
                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: did you mean "purchases"?
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""purchases:first_purchase""#)],
        r#"
models.toml:12: feature view "purchases" has no feature "first_purchase"
    inputs = { moment = "purchases:first_purchase" }
                        ^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: did you mean "first_purchase_at"?
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""purchases:spend_30d""#)],
        r#"
models.toml:12: input "moment" of commerce/user_age@1.0.0#years_since has type timestamp, and feature purchases:spend_30d type float64
    inputs = { moment = "purchases:spend_30d" }
                        ^^^^^^^^^^^^^^^^^^^^^
hint: what an input is given has the input's type
"#,
    );
    check(
        &[(r#"age = "user_age:age""#, r#"age = "event_time""#)],
        r#"
models.toml:17: input "age" of commerce/user_age@1.0.0#risk has type float64, and the event time type timestamp
    inputs = { age = "event_time", amount = "request:amount" }
                     ^^^^^^^^^^^^
hint: what an input is given has the input's type
"#,
    );
    check(
        &[(r#", amount = "request:amount""#, "")],
        r#"
models.toml:16: commerce/user_age@1.0.0#risk lacks its input "amount" (float64)
    transform = "commerce/user_age@1.0.0#risk"
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: add inputs = { amount = "request:amount" }, or a feature
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""request:amount""#)],
        r#"
models.toml:12: column "amount" of entity rows is timestamp here and float64 at models.toml:17
    inputs = { moment = "request:amount" }
                        ^^^^^^^^^^^^^^^^
hint: join keys and request columns have one type each: rename one
"#,
    );
    check(
        &[(r#""user_age:age""#, r#""risk:score""#)],
        r#"
models.toml:15: on-demand feature views read in a circle: risk → risk
    [on_demand_feature_view.risk]
                            ^^^^
hint: a view reads what can be computed before it
"#,
    );
    check(
        &[(r#""purchases:first_purchase_at""#, r#""risk:score""#)],
        r#"
models.toml:12: input "moment" of commerce/user_age@1.0.0#years_since has type timestamp, and feature risk:score type float64
    inputs = { moment = "risk:score" }
                        ^^^^^^^^^^^^
hint: what an input is given has the input's type
models.toml:15: on-demand feature views read in a circle: risk → user_age → risk
    [on_demand_feature_view.risk]
                            ^^^^
hint: a view reads what can be computed before it
"#,
    );
}

#[test]
fn feature_services() {
    check(
        &[(r#""purchases:spend_30d""#, r#""purchases:spend_30""#)],
        r#"
models.toml:21: feature view "purchases" has no feature "spend_30"
    features = ["purchases:spend_30", "basket", "risk:score"]
                ^^^^^^^^^^^^^^^^^^^^
hint: did you mean "spend_30d"?
"#,
    );
    check(
        &[(r#""purchases:spend_30d""#, r#""purchase:spend_30d""#)],
        r#"
models.toml:21: there is no feature view "purchase"
    features = ["purchase:spend_30d", "basket", "risk:score"]
                ^^^^^^^^^^^^^^^^^^^^
hint: did you mean "purchases"?
"#,
    );
    check(
        &[(r#""purchases:spend_30d""#, r#""Purchases""#)],
        r#"
models.toml:21: feature service "churn": not a feature: "Purchases"
    features = ["Purchases", "basket", "risk:score"]
                ^^^^^^^^^^^
hint: write "view:feature", or "view" for all its features
"#,
    );
    check(
        &[(r#""purchases:spend_30d""#, r#""basket:unit_price""#)],
        r#"
models.toml:21: feature basket:unit_price is there twice
    features = ["basket:unit_price", "basket", "risk:score"]
                                     ^^^^^^^^
hint: name it once; a view alone means all its features
"#,
    );
}

#[test]
fn what_is_broken_hides_and_multiplies_nothing() {
    check(
        &[
            (r#"source = "history""#, r#"sorce = "history""#),
            (r#"purchases_30d = "int64""#, r#"purchases_30d = "int""#),
            (r#""risk:score""#, r#""risk:skore""#),
            (r#""user_age:age""#, r#""user_age:aeg""#),
        ],
        r#"
customer.toml:22: feature view "purchases" has no key "sorce"
    sorce = "history"
    ^^^^^
hint: did you mean "source"?
customer.toml:26: feature "purchases_30d" of feature view "purchases": not a type: "int"
    purchases_30d = "int"
                    ^^^^^
hint: did you mean "int64"?
models.toml:17: feature view "user_age" has no feature "aeg"
    inputs = { age = "user_age:aeg", amount = "request:amount" }
                     ^^^^^^^^^^^^^^
hint: did you mean "age"?
models.toml:21: feature view "risk" has no feature "skore"
    features = ["purchases:spend_30d", "basket", "risk:skore"]
                                                 ^^^^^^^^^^^^
hint: did you mean "score"?
"#,
    );
}

#[test]
fn rows_that_could_not_be_written() {
    let two = "features = { f_58715 = { type = \"float64\", column = \"unit_price\" }, \
               f_107906 = { type = \"float64\", column = \"unit_price\" } }";
    check(
        &[(r#"features = { unit_price = "float64" }"#, two)],
        r#"
models.toml:1: the columns "f_107906" and "f_58715" cannot be told apart in a row: their tags are equal
    [feature_view.basket]
                  ^^^^^^
hint: rename one of them
"#,
    );
}

#[test]
fn a_name_has_to_stand_for_what_is_locked() {
    let mut environment = environment();
    let name: TransformName = "commerce/basket@1.0.0".parse().unwrap();
    environment.locked = BTreeMap::from([(name.clone(), Digest::of("other"))]);
    let problems = super::check(parse(files()), &environment).unwrap_err();
    let (found, locked) = (Digest::of("commerce/basket@1.0.0"), Digest::of("other"));
    let [problem] = problems.as_slice() else {
        panic!("{}", shown(&problems));
    };
    assert_eq!(
        problem.message,
        format!("commerce/basket@1.0.0 is {found} in the registry and {locked} in unskew.lock")
    );
    environment.locked = BTreeMap::from([(name, found)]);
    assert!(super::check(parse(files()), &environment).is_ok());
}

#[test]
fn what_is_left_out_has_a_meaning() {
    let definitions = state(&[]).definitions;
    let basket = &definitions.feature_views["basket"];
    let transform = basket.transform.as_ref().unwrap();
    assert_eq!(transform.inputs["event_time"], "ordered_at", "the time of the row");
    assert_eq!(transform.inputs["items"], "items", "the column of the same name");
    assert!(basket.online);
    let user_age = &definitions.on_demand_feature_views["user_age"].transform;
    assert_eq!(user_age.inputs["event_time"], Input::EventTime);
    let churn: Vec<_> = definitions.feature_services["churn"].features.iter().collect();
    let churn: Vec<_> = churn.iter().map(ToString::to_string).collect();
    assert_eq!(churn, ["purchases:spend_30d", "basket:unit_price", "risk:score"]);
}

#[test]
fn states_survive_storage() {
    let state = state(&[]);
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
}

#[test]
fn what_has_to_be_looked_up_is_known_before_the_check() {
    let parsed = parse(edited(&[("source = \"history\"", "source = 5")]));
    let sources: Vec<_> = parsed.sources().map(|(name, _)| name).collect();
    assert_eq!(sources, ["history", "orders"]);
    let transforms: Vec<_> = parsed.transforms().into_iter().map(ToString::to_string).collect();
    assert_eq!(transforms, ["commerce/basket@1.0.0", "commerce/user_age@1.0.0"]);
}

/// The declarations of the project, one text each.
fn declarations() -> Vec<String> {
    let mut declarations: Vec<String> = Vec::new();
    for file in files() {
        for part in file.text.split("\n\n") {
            match (declarations.last_mut(), part.split(']').next().unwrap().matches('.').count()) {
                (Some(last), 2) => last.push_str(&format!("\n{part}\n")),
                _ => declarations.push(format!("{part}\n")),
            }
        }
    }
    declarations
}

proptest! {
    #[test]
    fn how_declarations_are_spread_over_files_means_nothing(
        declarations in Just(declarations()).prop_shuffle(),
        places in vec(0..3_usize, declarations().len()),
    ) {
        let mut texts = vec![String::new(); 3];
        for (declaration, place) in declarations.iter().zip(places) {
            texts[place].push_str(declaration);
        }
        let file = |(index, text)| File { path: format!("{index}.toml"), text };
        let files = texts.into_iter().enumerate().map(file).collect();
        prop_assert_eq!(super::check(parse(files), &environment()).unwrap(), state(&[]));
    }

    #[test]
    fn no_text_makes_it_panic(cut in 0..2_000_usize, insert in "[\\[\\]{}=\".#a-z0-9:\n]{0,12}") {
        let mut files = files();
        for file in &mut files {
            let at = cut.min(file.text.len());
            file.text.insert_str(at, &insert);
        }
        let said = super::check(parse(files), &environment());
        if let Err(problems) = said {
            prop_assert!(!problems.is_empty());
            prop_assert!(!shown(&problems).is_empty());
        }
    }
}
