//! Kinds and hints of the errors of root filesystems and Dockerfiles.
