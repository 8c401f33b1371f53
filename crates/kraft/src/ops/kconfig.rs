//! What KConfig knows about the options of a core, asked when somebody wants to know.

use kraft_build::build::Job;
use kraft_build::configure::Lost;
use kraft_build::plan::Plan;

use crate::app::App;

/// Tells why values got lost, each in a fragment: `needs LWIP_UDP, which is n because …`.
pub(crate) fn reasons(_app: &App, _plan: &Plan, _job: &Job, lost: &[Lost]) -> Vec<Option<String>> {
    lost.iter().map(|_| None).collect()
}
