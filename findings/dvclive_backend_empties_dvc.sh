#!/usr/bin/env bash
# MMEngine's DVCLiveVisBackend empties the .dvc folder of a project if git knows no name and e-mail of a user, as in most containers
# and on most clusters. It then calls `dvc init -f --no-scm`, "to avoid SCMError": -f removes .dvc first, with the cache, which holds
# the data of every version that was never pushed, and with the remotes. It happens when the first value is logged. The training
# itself goes on. save_dvc_exp=False, which says that no experiment is to be saved, does not prevent it.
#
# mmseg_semi/runtime/trackers/dvclive.py opens DVCLive without this call.
#
# Seen with onedl-mmengine 0.10.12, dvclive 3.49.1, dvc 3.67.1, pygit2 1.21.0, torch 2.13.0, Python 3.11. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 onedl-mmengine==0.10.12 opencv-python==5.0.0.93 \
    dvclive==3.49.1 dvc==3.67.1 pygit2==1.21.0 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
mkdir "$folder/home" "$folder/project" && cd "$folder/project"
export PATH="$folder/venv/bin:$PATH" HOME="$folder/home" DVC_NO_ANALYTICS=1 GIT_CONFIG_NOSYSTEM=1
unset EMAIL GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL XDG_CONFIG_HOME

# a project with data under DVC, as someone with a name has left it: of images.bin, two versions
git init -q . && dvc init -q
for version in 1 2; do
    echo "version $version" > images.bin
    dvc add -q images.bin && git add -A
    git -c user.name=somebody -c user.email=somebody@example.org commit -qm "version $version"
done
dvc remote add -q -d store ../store

cat > train.py <<'PY'
from mmengine.visualization import DVCLiveVisBackend

backend = DVCLiveVisBackend('work_dir', init_kwargs=dict(save_dvc_exp=False, dvcyaml=None))
backend.add_scalar('loss', 1.0, 1)
PY
show() {
    echo "RESULT $1: $(find .dvc/cache -type f 2> /dev/null | wc -l | tr -d ' ') files in the cache, $(grep -c '^\[.remote' .dvc/config) remotes"
}
back() {
    git checkout -q "$1" -- images.bin.dvc
    dvc checkout -q images.bin.dvc 2> /dev/null && echo "RESULT $(cat images.bin) is back" || echo 'RESULT it is lost'
}
{
    show 'before the first value'
    back HEAD~1 && back HEAD
    python train.py > "$folder/run.log" 2>&1
    show 'after the first value'
    back HEAD~1
} > "$folder/found" || { cat "$folder/run.log"; exit 1; }
cat "$folder/found"
diff "$folder/found" - <<'TXT'
RESULT before the first value: 2 files in the cache, 1 remotes
RESULT version 1 is back
RESULT version 2 is back
RESULT after the first value: 0 files in the cache, 0 remotes
RESULT it is lost
TXT
echo 'as described'
