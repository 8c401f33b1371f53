//! Messages of JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>), for the servers on stdin and stdout.

use serde_json::{Value, json};

// Codes of errors, section 5.1.
pub(crate) const PARSE_ERROR: i32 = -32700;
pub(crate) const INVALID_REQUEST: i32 = -32600;
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
pub(crate) const INVALID_PARAMS: i32 = -32602;

/// An error: its code and a message.
pub(crate) type RpcError = (i32, String);

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// It needs an answer with its id.
    Request(Value, String, Value),
    /// It gets no answer.
    Notification(String, Value),
    /// An answer to a question that was never asked.
    Answer,
    /// None of these: the id of its answer, and the error.
    Invalid(Value, RpcError),
}

impl Message {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut message: Value = match serde_json::from_slice(bytes) {
            Ok(message) => message,
            Err(error) => return Self::Invalid(Value::Null, (PARSE_ERROR, error.to_string())),
        };
        let id = message.get("id").cloned();
        let Some(method) = message
            .get("method")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
        else {
            if message.get("result").is_some() || message.get("error").is_some() {
                return Self::Answer;
            }
            let error = (INVALID_REQUEST, "a message has no method".to_owned());
            return Self::Invalid(id.unwrap_or_default(), error);
        };
        let params = take(&mut message, "params");
        match id {
            Some(id) => Self::Request(id, method, params),
            None => Self::Notification(method, params),
        }
    }
}

/// Takes the member of an object; `null` if there is none.
pub(crate) fn take(object: &mut Value, name: &str) -> Value {
    object.get_mut(name).map(Value::take).unwrap_or_default()
}

/// Returns the answer to a request.
pub(crate) fn answer(id: &Value, outcome: Result<Value, RpcError>) -> Value {
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, text)) => {
            let error = json!({ "code": code, "message": text });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    }
}

/// Returns the error of a request whose method the server does not have.
pub(crate) fn no_method(method: &str) -> RpcError {
    (METHOD_NOT_FOUND, format!("there is no method `{method}`"))
}
