//! Lists in pages: today's platform limits a response to `count` items from a cursor on.
//!
//! ```text
//! GET /volumes?count=100            ─► 100 items
//! GET /volumes?count=101&from=UUID  ─► the cursor itself (it is inclusive), and 100 items
//! GET /volumes?count=101&from=UUID  ─► fewer: the last page
//! ```
//!
//! Resources come and go meanwhile. A page without its cursor means that the cursor was removed: the
//! list continues from an earlier item, and items that were seen are not repeated.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use crate::answer::Answer;
use crate::client::Client;
use crate::error::Error;
use crate::request::{Form, Request};

/// Number of items of a page.
const COUNT: usize = 100;
/// Maximum number of pages; more mean that the platform does not honor the cursor.
const MOST: usize = 10_000;

impl Client {
    /// Requests all pages of a list, in creation order.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
        form: &Form,
    ) -> Result<Answer<T>, Error> {
        let page = |count: usize, from: Option<&str>| {
            let mut form = form.clone().ask("count", &count);
            form = form.ask("order", &"asc").ask("sortby", &"create_time");
            if let Some(from) = from {
                form = form.ask("from", &from);
            }
            request.in_form::<T>(form)
        };
        let mut whole = self.exchange(&page(COUNT, None)).await?;
        let mut trail: Vec<String> = whole.uuids().map(str::to_owned).collect();
        // A platform that ignores `count` sends everything at once.
        if trail.len() != COUNT || trail.iter().any(String::is_empty) {
            return Ok(whole);
        }
        let mut seen: BTreeSet<String> = trail.iter().cloned().collect();
        let mut back = 0;
        for _ in 0..MOST {
            let cursor = trail.len().checked_sub(1 + back);
            let cursor = cursor.and_then(|at| trail.get(at)).cloned();
            let mut next = self.exchange(&page(COUNT + 1, cursor.as_deref())).await?;
            let found: Vec<String> = next.uuids().map(str::to_owned).collect();
            let there = cursor.as_ref().is_none_or(|cursor| found.contains(cursor));
            let new: Vec<bool> = found.iter().map(|uuid| seen.insert(uuid.clone())).collect();
            let fresh = new.iter().any(|new| *new);
            next.keep(&new);
            whole.append(next);
            if !there {
                // Each step goes back twice as far, at last to the beginning.
                back = if cursor.is_none() { 0 } else { back * 2 + 1 };
            }
            let added = found.iter().zip(&new).filter(|(_, new)| **new);
            trail.extend(added.map(|(uuid, _)| uuid.clone()));
            if there {
                back = 0;
                if found.len() <= COUNT || !fresh {
                    return Ok(whole);
                }
            }
        }
        Ok(whole)
    }
}
