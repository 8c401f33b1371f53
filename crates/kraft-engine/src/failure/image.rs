//! Kinds and hints of the errors of images: finding, pulling, packing and running them.
