# A repository: commits, a branch, a merge, a clone over a pipe, and its check.
export PATH=/usr/bin:/bin HOME=/root GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
set -e
git init -q -b main /tmp/one && cd /tmp/one
i=0
while [ $i -lt 5 ]; do
    i=$((i + 1))
    echo "text $i" >file$i && git add . && git commit -q -m "commit $i"
done
git checkout -q -b other HEAD~2
echo more >other && git add . && git commit -q -m other
git checkout -q main && git merge -q --no-edit other
git gc -q
git clone -q --no-local /tmp/one /tmp/two
git -C /tmp/two fsck --strict 2>/dev/null
git -C /tmp/two log --oneline | while read -r line; do echo x; done | tr -d '\n'
echo
exit 3
