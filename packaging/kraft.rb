class Kraft < Formula
  desc "@DESCRIPTION@"
  homepage "@REPOSITORY@"
  version "@VERSION@"
  license "@LICENSE@"

  depends_on :linux
  depends_on "qemu"

  on_intel do
    url "@REPOSITORY@/releases/download/v@VERSION@/kraft-@VERSION@-x86_64-unknown-linux-musl.tar.gz"
    sha256 "@SHA256_X86_64@"
  end
  on_arm do
    url "@REPOSITORY@/releases/download/v@VERSION@/kraft-@VERSION@-aarch64-unknown-linux-musl.tar.gz"
    sha256 "@SHA256_AARCH64@"
  end

  def install
    bin.install "kraft"
    man1.install Dir["man/*.1"]
    (share/"kraft").install "schema"
    bash_completion.install "completions/kraft"
    zsh_completion.install "completions/_kraft"
    fish_completion.install "completions/kraft.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kraft version")
  end
end
