//! Reads and edits YAML files written by users: the configuration, Kraftfiles.
//!
//! Edits keep all bytes other than the changed value.
//!
//! ```
//! use std::borrow::Cow;
//!
//! use kraft_core::yaml::edit;
//! use kraft_core::yaml::value::Value;
//!
//! let text = "# mine\nlog:\n  level: info # quiet\n";
//! let path = [Cow::Borrowed("log"), Cow::Borrowed("level")];
//! let changed = edit::set(text, &path, &Value::Text("debug".to_owned())).expect("an edit");
//! assert_eq!(changed, "# mine\nlog:\n  level: debug # quiet\n");
//! ```

pub mod document;
pub mod edit;
pub mod value;
