//! Kinds and hints of the errors of projects: Kraftfiles, components and builds.
