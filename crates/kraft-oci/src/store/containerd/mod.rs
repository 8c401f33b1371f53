//! A store in a containerd: images in a namespace of it, for engines to find them there.
//!
//! Blobs have labels with their references, so containerd's garbage collector removes blobs that no
//! image refers to and no lease keeps. A lease expires a day after its holder ended. Images of
//! other clients in the same namespace are neither listed nor changed: kraft's have `KraftKit`'s
//! label.

mod client;
mod content;
mod messages;

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kraft_core::reference::{Digest, Reference};
use kraft_sys::lock::Lock;
use kraft_sys::{clock, fs};
use tonic::{Code, Status};

use self::client::Client;
use self::content::{ContentLease, ContentReader};
use self::messages as m;
use super::reach::reachable;
use super::{Blobs, Error, Expect, Lease, Named, Store, Swept};
use crate::digest::Damage;
use crate::image::{Descriptor, media};
use crate::unique::unique;

/// Label on every blob of kraft: its type.
const MARK: &str = "kraftkit.sh/oci.mediaType";
/// On a lease: when it ends by itself (containerd, docs/garbage-collection.md).
const EXPIRES: &str = "containerd.io/gc.expire";
/// How long a lease lasts at most.
const LONGEST: Duration = Duration::from_hours(24);

/// What a store has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The socket: a path, or `unix://PATH`.
    pub address: String,
    /// The namespace.
    pub namespace: String,
    /// A directory whose lock serialises changes of names.
    pub lock_dir: PathBuf,
}

/// A store in a containerd.
#[derive(Clone, Debug)]
pub struct Containerd {
    client: Arc<Client>,
    lock_dir: PathBuf,
}

impl Containerd {
    /// Names the containerd; nothing is asked yet.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(&settings.address, &settings.namespace)?,
            lock_dir: settings.lock_dir.clone(),
        })
    }

    fn info(&self, digest: &Digest) -> Result<Option<m::Info>, Error> {
        let question = m::ByDigest {
            digest: digest.to_string(),
        };
        let path = "/containerd.services.content.v1.Content/Info";
        match self.client.ask::<_, m::OneInfo>(path, question, None) {
            Ok(answer) => Ok(answer.info),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.client.failed("look for a blob", &status)),
        }
    }

    fn images(&self) -> Result<Vec<m::Image>, Error> {
        let path = "/containerd.services.images.v1.Images/List";
        let all = m::Filters {
            filters: Vec::new(),
        };
        match self.client.ask::<_, m::Images>(path, all, None) {
            Ok(answer) => Ok(answer.images),
            // An unused namespace.
            Err(status) if status.code() == Code::NotFound => Ok(Vec::new()),
            Err(status) => Err(self.client.failed("list images", &status)),
        }
    }

    /// Returns all blobs of kraft.
    fn infos(&self) -> Result<Vec<m::Info>, Error> {
        let failed = |status: Status| self.client.failed("list blobs", &status);
        let question = m::Filters {
            filters: vec![format!("labels.\"{MARK}\"")],
        };
        let path = "/containerd.services.content.v1.Content/List";
        let mut answers = self
            .client
            .ask_many::<_, m::Infos>(path, question)
            .map_err(failed)?;
        let mut infos = Vec::new();
        while let Some(answer) = self.client.wait(answers.message()).map_err(failed)? {
            infos.extend(answer.info);
        }
        Ok(infos)
    }

    /// Starts containerd's garbage collection and waits for it: it runs when a lease is released.
    fn sweep_now(&self) -> Result<(), Error> {
        let id = format!("kraft-sweep-{}", unique());
        let failed = |status: Status| self.client.failed("sweep", &status);
        let create = m::CreateLease {
            id: id.clone(),
            labels: expiring(),
        };
        self.client
            .ask::<_, m::Empty>("/containerd.services.leases.v1.Leases/Create", create, None)
            .map_err(failed)?;
        self.client
            .ask::<_, m::Empty>(
                "/containerd.services.leases.v1.Leases/Delete",
                m::DeleteLease { id, sync: true },
                None,
            )
            .map_err(failed)?;
        Ok(())
    }

    fn lock(&self) -> Result<Lock, Error> {
        fs::create_dir_all(&self.lock_dir, 0o700)?;
        Ok(Lock::exclusive(&self.lock_dir)?)
    }
}

/// Returns the labels of a lease that ends by itself.
fn expiring() -> HashMap<String, String> {
    let end = std::time::UNIX_EPOCH + clock::now() + LONGEST;
    let end = Timestamp::try_from(end).unwrap_or_default();
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    HashMap::from([(EXPIRES.to_owned(), end)])
}

fn size(size: i64) -> u64 {
    u64::try_from(size).unwrap_or_default()
}

impl Blobs for Containerd {
    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.info(digest)?.map(|info| size(info.size)))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        if self.info(digest)?.is_none() {
            return Err(Error::damaged(digest, Damage::Missing));
        }
        Ok(Box::new(ContentReader::open(&self.client, digest)?))
    }
}

impl Store for Containerd {
    fn place(&self) -> String {
        self.client.address.clone()
    }

    fn lease(&self) -> Result<Box<dyn Lease>, Error> {
        Ok(Box::new(ContentLease::begin(self.clone())?))
    }

    fn names(&self) -> Result<Vec<Named>, Error> {
        let mut names = Vec::new();
        for image in self.images()? {
            let Some(candidate) = named(&image) else {
                continue;
            };
            let info = self.info(&candidate.target.digest)?;
            if info.is_some_and(|info| info.labels.contains_key(MARK)) {
                names.push(candidate);
            }
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    fn tag(&self, name: &Reference, target: &Descriptor, expect: &Expect) -> Result<(), Error> {
        // containerd has no conditional updates: kraft processes that change names lock each other
        // out.
        let _lock = self.lock()?;
        let there = self
            .images()?
            .into_iter()
            .find(|image| image.name == name.to_string());
        let digest = there
            .as_ref()
            .and_then(|image| image.target.as_ref())
            .map(|target| target.digest.clone());
        let fits = match (expect, &digest) {
            (Expect::Anything, _) | (Expect::Nothing, None) => true,
            (Expect::This(expected), Some(digest)) => expected.as_str() == digest,
            (Expect::Nothing, Some(_)) | (Expect::This(_), None) => false,
        };
        if !fits {
            return Err(Error::Moved(name.clone()));
        }
        let image = m::Image {
            name: name.to_string(),
            labels: HashMap::new(),
            target: Some(m::Descriptor {
                media_type: target.media_type.clone(),
                digest: target.digest.to_string(),
                size: i64::try_from(target.size).unwrap_or(i64::MAX),
            }),
            updated_at: None,
        };
        let path = if there.is_some() {
            "/containerd.services.images.v1.Images/Update"
        } else {
            "/containerd.services.images.v1.Images/Create"
        };
        let image = m::OneImage { image: Some(image) };
        self.client
            .ask::<_, m::OneImage>(path, image, None)
            .map_err(|status| self.client.failed("give an image its name", &status))?;
        Ok(())
    }

    fn untag(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        let _lock = self.lock()?;
        let Some(named) = self.find(name)? else {
            return Ok(None);
        };
        let delete = m::DeleteImage {
            name: name.to_string(),
            sync: false,
        };
        let path = "/containerd.services.images.v1.Images/Delete";
        match self.client.ask::<_, m::Empty>(path, delete, None) {
            Ok(_) => Ok(Some(named.target)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.client.failed("remove an image", &status)),
        }
    }

    fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut blobs: Vec<(Digest, u64)> = self
            .infos()?
            .into_iter()
            .filter_map(|info| Some((info.digest.parse().ok()?, size(info.size))))
            .collect();
        blobs.sort_unstable();
        Ok(blobs)
    }

    fn discard(&self, digest: &Digest) -> Result<(), Error> {
        let question = m::ByDigest {
            digest: digest.to_string(),
        };
        let path = "/containerd.services.content.v1.Content/Delete";
        match self.client.ask::<_, m::Empty>(path, question, None) {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(self.client.failed("remove a blob", &status)),
        }
    }

    fn sweep(&self, dry_run: bool) -> Result<Swept, Error> {
        let before = self.blobs()?;
        let gone: Box<dyn Fn(&Digest) -> bool> = if dry_run {
            // As far as it can be known: leases of others are not looked into.
            let used = reachable(self)?;
            Box::new(move |digest| !used.contains_key(digest))
        } else {
            self.sweep_now()?;
            let after: BTreeSet<Digest> = self.blobs()?.into_iter().map(|(d, _)| d).collect();
            Box::new(move |digest| !after.contains(digest))
        };
        Ok(Swept {
            blobs: before
                .into_iter()
                .filter(|(digest, _)| gone(digest))
                .collect(),
            other: 0,
        })
    }
}

/// Returns an image as a name of a store, if it is of a kind that we could have made.
fn named(image: &m::Image) -> Option<Named> {
    let target = image.target.as_ref()?;
    if !media::is_index(&target.media_type) && !media::is_manifest(&target.media_type) {
        return None;
    }
    let name: Reference = image.name.parse().ok()?;
    let since = image.updated_at.as_ref();
    Some(Named {
        name: name.qualified(),
        target: Descriptor::new(
            &target.media_type,
            target.digest.parse().ok()?,
            size(target.size),
        ),
        since: since.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok()),
    })
}
