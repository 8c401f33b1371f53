//! Archives and packages of a staged program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::{is_installed, run};
use super::{Description, Staged, copy, remove, write};
use crate::complain;

/// A package, or why it is not made.
type Packaged = Result<PathBuf, String>;

/// Returns the file beside the staged directory.
fn beside(staged: &Staged, name: &str) -> PathBuf {
    staged.dir.with_file_name(name)
}

/// The flags of GNU tar for an archive that depends on its files only.
fn reproducible(tar: &mut Command, description: &Description) {
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u=rwX,go=rX", "--format=gnu"])
        .arg(format!("--mtime=@{}", description.epoch));
}

/// Makes the archive: `kraft-VERSION-TARGET.tar.gz`.
pub(super) fn archive(staged: &Staged, description: &Description) -> Result<PathBuf, Vec<String>> {
    let name = staged.dir.file_name().unwrap_or_default();
    let file = beside(staged, &format!("{}.tar.gz", name.to_string_lossy()));
    let mut tar = Command::new("tar");
    reproducible(&mut tar, description);
    tar.args(["--use-compress-program", "gzip -n -9", "-cf"])
        .arg(&file)
        .arg("-C")
        .arg(staged.dir.parent().unwrap_or(Path::new(".")))
        .arg(name);
    run(&mut tar)?;
    Ok(file)
}

/// Lays the files out as a distribution has them.
fn lay_out(root: &Path, staged: &Staged, into: &Path) -> Result<(), Vec<String>> {
    remove(into)?;
    let share = into.join("usr/share");
    let files = [
        ("kraft", "usr/bin/kraft"),
        (
            "completions/kraft",
            "usr/share/bash-completion/completions/kraft",
        ),
        (
            "completions/_kraft",
            "usr/share/zsh/vendor-completions/_kraft",
        ),
        (
            "completions/kraft.fish",
            "usr/share/fish/vendor_completions.d/kraft.fish",
        ),
        (
            "schema/kraftfile.schema.json",
            "usr/share/kraft/schema/kraftfile.schema.json",
        ),
        (
            "schema/output.schema.json",
            "usr/share/kraft/schema/output.schema.json",
        ),
        ("CHANGELOG.md", "usr/share/doc/kraft/CHANGELOG.md"),
        ("LICENSE", "usr/share/doc/kraft/copyright"),
    ];
    for (from, to) in files {
        let to = into.join(to);
        let dir = to.parent().unwrap_or(into);
        fs::create_dir_all(dir).map_err(|error| complain("create", dir, &error))?;
        copy(&staged.dir.join(from), &to)?;
    }
    let unit = into.join("usr/lib/systemd/system/kraft-machines.service");
    let units = unit.parent().unwrap_or(into);
    fs::create_dir_all(units).map_err(|error| complain("create", units, &error))?;
    copy(
        &root.join("packaging/systemd/kraft-machines.service"),
        &unit,
    )?;
    let man = share.join("man/man1");
    fs::create_dir_all(&man).map_err(|error| complain("create", &man, &error))?;
    let pages = staged.dir.join("man");
    for page in fs::read_dir(&pages).map_err(|error| complain("read", &pages, &error))? {
        let page = page.map_err(|error| complain("read", &pages, &error))?;
        copy(&page.path(), &man.join(page.file_name()))?;
    }
    let mut gzip = Command::new("gzip");
    gzip.args(["-n", "-9", "-r"]).arg(&man);
    run(&mut gzip)?;
    run(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(into))
}

/// Makes the package of Debian.
pub(super) fn deb(
    root: &Path,
    staged: &Staged,
    description: &Description,
) -> Result<Packaged, Vec<String>> {
    if !is_installed("dpkg-deb") {
        return Ok(Err("the .deb: dpkg-deb is not installed".to_owned()));
    }
    let (arch, qemu) = if staged.target.starts_with("aarch64") {
        ("arm64", "qemu-system-arm")
    } else {
        ("amd64", "qemu-system-x86")
    };
    let tree = beside(staged, "deb");
    lay_out(root, staged, &tree)?;
    let control = tree.join("DEBIAN");
    fs::create_dir_all(&control).map_err(|error| complain("create", &control, &error))?;
    let Description {
        version,
        summary,
        repository,
        ..
    } = description;
    write(
        &control.join("control"),
        &format!(
            "Package: kraft\nVersion: {version}\nArchitecture: {arch}\nMaintainer: The kraft authors <{repository}>\n\
             Section: admin\nPriority: optional\nHomepage: {repository}\nRecommends: {qemu}, ca-certificates\n\
             Suggests: git, make, gcc\nDescription: {summary}\n kraft turns applications into unikernels: kernels that contain one\n \
             application. It builds them, packages them as OCI images and runs them.\n"
        ),
    )?;
    let file = beside(staged, &format!("kraft_{version}_{arch}.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&tree)
        .arg(&file)
        .env("SOURCE_DATE_EPOCH", description.epoch.to_string());
    // Older ones take the times of the files.
    touch(&tree, description)?;
    run(&mut dpkg)?;
    remove(&tree)?;
    Ok(Ok(file))
}

/// Makes the package of Fedora and others.
pub(super) fn rpm(
    root: &Path,
    staged: &Staged,
    description: &Description,
) -> Result<Packaged, Vec<String>> {
    if !is_installed("rpmbuild") {
        return Ok(Err("the .rpm: rpmbuild is not installed".to_owned()));
    }
    let arch = if staged.target.starts_with("aarch64") {
        "aarch64"
    } else {
        "x86_64"
    };
    let (tree, top) = (beside(staged, "rpm-tree"), beside(staged, "rpm"));
    lay_out(root, staged, &tree)?;
    touch(&tree, description)?;
    remove(&top)?;
    fs::create_dir_all(&top).map_err(|error| complain("create", &top, &error))?;
    let Description {
        version,
        summary,
        license,
        repository,
        ..
    } = description;
    // A pre-release has no dash there.
    let version = version.replace('-', "~");
    let spec = top.join("kraft.spec");
    write(
        &spec,
        &format!(
            "Name: kraft\nVersion: {version}\nRelease: 1\nSummary: {summary}\nLicense: {license}\nURL: {repository}\n\
             Recommends: qemu-system-x86-core\nSuggests: git make gcc\nAutoReqProv: no\n\n%description\n{summary}\n\n\
             %install\ncp -a {tree}/. %{{buildroot}}\nmkdir -p %{{buildroot}}/usr/share/zsh/site-functions\n\
             mv %{{buildroot}}/usr/share/zsh/vendor-completions/_kraft %{{buildroot}}/usr/share/zsh/site-functions/\n\
             rmdir %{{buildroot}}/usr/share/zsh/vendor-completions\n\n%files\n/usr/bin/kraft\n/usr/lib/systemd/system/*\n\
             /usr/share/bash-completion/completions/kraft\n/usr/share/zsh/site-functions/_kraft\n\
             /usr/share/fish/vendor_completions.d/kraft.fish\n/usr/share/kraft\n%doc /usr/share/doc/kraft\n%doc /usr/share/man/man1/*\n",
            tree = tree.display()
        ),
    )?;
    let mut build = Command::new("rpmbuild");
    build
        .args(["-bb", "--target", arch])
        .arg("--define")
        .arg(format!("_topdir {}", top.display()))
        // The program is stripped already, perhaps for another processor.
        .args([
            "--define",
            "__os_install_post %{nil}",
            "--define",
            "debug_package %{nil}",
        ])
        .args([
            "--define",
            "_buildhost kraft",
            "--define",
            "_build_id_links none",
        ])
        .args(["--define", "use_source_date_epoch_as_buildtime 1"])
        .args(["--define", "clamp_mtime_to_source_date_epoch 1"])
        .env("SOURCE_DATE_EPOCH", description.epoch.to_string())
        .arg(&spec);
    run(&mut build)?;
    let name = format!("kraft-{version}-1.{arch}.rpm");
    let file = beside(staged, &name);
    copy(&top.join("RPMS").join(arch).join(&name), &file)?;
    remove(&tree)?;
    remove(&top)?;
    Ok(Ok(file))
}

/// Sets the times of all files.
fn touch(tree: &Path, description: &Description) -> Result<(), Vec<String>> {
    run(Command::new("find")
        .arg(tree)
        .args(["-exec", "touch", "--no-dereference"])
        .arg(format!("--date=@{}", description.epoch))
        .args(["{}", "+"]))
}
