{
  description = "@DESCRIPTION@";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      version = "@VERSION@";
      releases = {
        x86_64-linux = { target = "x86_64-unknown-linux-musl"; sha256 = "@SHA256_X86_64@"; };
        aarch64-linux = { target = "aarch64-unknown-linux-musl"; sha256 = "@SHA256_AARCH64@"; };
      };
      package = system: release:
        let
          pkgs = nixpkgs.legacyPackages.${system};
          name = "kraft-${version}-${release.target}";
        in
        pkgs.stdenvNoCC.mkDerivation {
          pname = "kraft";
          inherit version;
          src = pkgs.fetchurl {
            url = "@REPOSITORY@/releases/download/v${version}/${name}.tar.gz";
            inherit (release) sha256;
          };
          nativeBuildInputs = [ pkgs.makeWrapper ];
          installPhase = ''
            install -D kraft $out/bin/kraft
            install -D -m 644 -t $out/share/man/man1 man/*.1
            install -D -m 644 -t $out/share/kraft/schema schema/*.json
            install -D -m 644 completions/kraft $out/share/bash-completion/completions/kraft
            install -D -m 644 completions/_kraft $out/share/zsh/site-functions/_kraft
            install -D -m 644 completions/kraft.fish $out/share/fish/vendor_completions.d/kraft.fish
            wrapProgram $out/bin/kraft --suffix PATH : ${pkgs.lib.makeBinPath [ pkgs.qemu pkgs.git ]}
          '';
          meta = {
            description = "@DESCRIPTION@";
            homepage = "@REPOSITORY@";
            license = pkgs.lib.licenses.bsd3;
            mainProgram = "kraft";
            platforms = builtins.attrNames releases;
          };
        };
    in
    {
      packages = builtins.mapAttrs (system: release: { default = package system release; }) releases;
    };
}
