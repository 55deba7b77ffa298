#!/usr/bin/env bash
# A Dask task that merely prefers a worker waits for that one for ever, if it once found none at all.
#
# distributed 2026.8.0, dask 2026.8.0, Python 3.11; Linux x86-64.
# Seen: with `workers=[address], allow_other_workers=True` a task that becomes ready while the cluster has no worker is
# not run when another worker is added; one without these arguments is.
# A guess that is wrong: that `allow_other_workers` holds at all times. When a worker is added, the scheduler looks
# at the restrictions of tasks that wait, and not at whether these are loose. Whoever prefers workers must
# take the preference back when one of them is gone.
#
# Prints: free: 3, loose: no-worker. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check dask==2026.8.0 distributed==2026.8.0
cat > "$folder/waiting.py" <<'CODE'
import asyncio

from distributed import Client, Scheduler, Worker


async def main():
    async with Scheduler(dashboard_address=":0") as scheduler:
        async with Client(scheduler.address, asynchronous=True) as client:
            gone = await Worker(scheduler.address)
            await gone.close()
            wish = {"workers": [gone.address], "allow_other_workers": True}
            loose = client.submit(sum, (1, 2), key="loose", pure=False, **wish)
            free = client.submit(sum, (1, 2), key="free", pure=False)
            await asyncio.sleep(0.5)
            async with Worker(scheduler.address):
                print(f"free: {await free.result()}", end=", ")
                await asyncio.wait([asyncio.ensure_future(loose.result())], timeout=5)
                print(f"loose: {scheduler.tasks['loose'].state}", flush=True)


asyncio.run(main())
CODE
said=$(cd "$folder" && "$folder/env/bin/python" waiting.py 2> errors.txt) || { cat "$folder/errors.txt"; exit 1; }
echo "$said"
[ "$said" = "free: 3, loose: no-worker" ]
