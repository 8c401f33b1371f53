//! The messages of containerd's API that we exchange (containerd 1.6 and newer,
//! `api/services/{content,images,leases}/v1`), with the numbers that its `.proto` files give them.

use std::collections::HashMap;

use prost::Message;

type Labels = HashMap<String, String>;

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Empty {}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub(super) paths: Vec<String>,
}

/// `containerd.types.Descriptor`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(super) media_type: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
}

/// `containerd.services.content.v1.Info`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Info {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(int64, tag = "2")]
    pub(super) size: i64,
    #[prost(map = "string, string", tag = "5")]
    pub(super) labels: Labels,
}

/// Asks by digest; also what a blob is removed by.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ByDigest {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OneInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<Info>,
}

/// Changes the labels of a blob.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<Info>,
    #[prost(message, optional, tag = "2")]
    pub(super) update_mask: Option<FieldMask>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Filters {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Infos {
    #[prost(message, repeated, tag = "1")]
    pub(super) info: Vec<Info>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadContent {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Data {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data: bytes::Bytes,
}

/// What a writer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteContent {
    #[prost(int32, tag = "1")]
    pub(super) action: i32,
    #[prost(string, tag = "2")]
    pub(super) reference: String,
    #[prost(int64, tag = "3")]
    pub(super) total: i64,
    #[prost(string, tag = "4")]
    pub(super) expected: String,
    #[prost(int64, tag = "5")]
    pub(super) offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) data: bytes::Bytes,
    #[prost(map = "string, string", tag = "7")]
    pub(super) labels: Labels,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Written {
    #[prost(int64, tag = "4")]
    pub(super) offset: i64,
    #[prost(string, tag = "6")]
    pub(super) digest: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ByRef {
    #[prost(string, tag = "1")]
    pub(super) reference: String,
}

/// `containerd.services.images.v1.Image`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) labels: Labels,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
    #[prost(message, optional, tag = "8")]
    pub(super) updated_at: Option<Timestamp>,
}

/// Creates an image, changes one, or answers with one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OneImage {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Images {
    #[prost(message, repeated, tag = "1")]
    pub(super) images: Vec<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteImage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bool, tag = "2")]
    pub(super) sync: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateLease {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(map = "string, string", tag = "3")]
    pub(super) labels: Labels,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteLease {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(bool, tag = "2")]
    pub(super) sync: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AddResource {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) resource: Option<Resource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) kind: String,
}
