"""Edges of the emulated cloud, as scripts of the platform's official SDK for Python meet them.

usage: sdk_edges.py BASE TOKEN [NAME ...]

BASE is the emulator without `/v1`, with the images `tester/web` and `tester/bad`, of which the second
crashes. Runs the named groups of checks, or all of them, and prints which fail, and where.
"""

import asyncio
import base64
import sys
import traceback

import httpx
import unikraft_cloud.resources.instances as ri
from unikraft_cloud import REMOVE, UnikraftCloud, git_source, image_output, kraftfile_from
from unikraft_cloud.api.controlplane import AuthApi, NodeServiceApi
from unikraft_cloud.api.controlplane import models_gen as plane
from unikraft_cloud.api.platform import models_gen as m
from unikraft_cloud.core.errors import (
    AlreadyExistsError,
    AuthenticationError,
    NotFoundError,
    UnikraftCloudError,
    WaitTimeoutError,
)
from unikraft_cloud.core.http import ApiClientConfig
from unikraft_cloud.core.response import raise_for_envelope

BASE, TOKEN = sys.argv[1:3]
CHAIN = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
PKEY = "-----BEGIN EC PRIVATE KEY-----\nQUJD\n-----END EC PRIVATE KEY-----\n"


def client(token=TOKEN):
    return UnikraftCloud(
        token=token,
        metro=BASE,
        trust_env=False,
        control_plane_url=f"{BASE}/controlplane",
        build_url=f"{BASE}/build",
    )


tests = []


def t(f):
    tests.append(f)
    return f


async def raises(cls, aw, **kw):
    try:
        r = await aw
    except cls as e:
        for k, v in kw.items():
            assert getattr(e, k) == v, (k, getattr(e, k), v, e)
        return e
    raise AssertionError(f"no {cls.__name__}: {r}")


IMG = "tester/web:latest"


@t
async def life(u):
    i = await u.instances.create(
        image=IMG,
        name="a",
        autostart=True,
        timeout_s=10,
        memory_mb=64,
        env={"A": "1"},
        args=["x"],
        tags=["t1", "t2"],
    )
    assert (
        i.state == "running"
        and i.created_at
        and i.started_at
        and i.args == ["x"]
        and i.private_ip
        and i.image.startswith("oci://")
    ), i
    assert i.start_count == 1 and i.uptime_ms is not None and i.network_interfaces[0].mac
    await raises(AlreadyExistsError, u.instances.create(image=IMG, name="a"))
    e = await raises(NotFoundError, u.instances.get(name="zz"))
    assert e.absent
    e = await raises(NotFoundError, u.instances.get(uuid="00000000-0000-4000-8000-000000000000"))
    assert e.absent
    await raises(UnikraftCloudError, u.instances.api.get_instance_by_uuid("nope"), status=400)
    e = await raises(
        WaitTimeoutError, u.instances.get(name="a").wait(state="stopped", timeout_seconds=0)
    )
    assert e.state == "running"
    assert (
        await u.instances.get(name="a").wait(state="running", timeout_seconds=5)
    ).state == "running"
    l = await u.instances.get(name="a").logs(offset=0)
    assert base64.b64decode(l.output) == b"hello world\n", l
    l = await u.instances.get(uuid=i.uuid).logs(offset=-6, limit=3)
    assert base64.b64decode(l.output) == b"wor", l
    mt = await u.instances.get(name="a").metrics()
    assert mt.boot_time_us and mt.rss_bytes
    s = await u.instances.get(name="a").suspend()
    assert (s.previous_state, s.state) == ("running", "standby")
    await raises(UnikraftCloudError, u.instances.get(name="zz").suspend())
    s = await u.instances.get(name="a").start()
    assert s.previous_state == "standby"
    s = await u.instances.get(name="a").stop()
    assert s.previous_state == "running"
    await u.instances.get(name="a").wait(state="stopped", timeout_seconds=5)
    s = await u.instances.get(name="a")
    assert s.stop_reason == 15 and s.stopped_at, s
    assert s.describe_stop()
    d = await u.instances.get(name="a").delete(timeout_seconds=5)
    assert d.previous_state == "stopped"
    assert await u.instances.get(name="a").delete(missing_ok=True) is None
    await raises(NotFoundError, u.instances.get(name="a").delete())


@t
async def edit(u):
    await u.instances.create(
        image=IMG,
        name="e",
        tags=["a"],
        env={"A": "1", "B": "2"},
        service_group={"services": [{"port": 443, "handlers": ["tls", "http"]}]},
    )
    h = lambda: u.instances.get(name="e")
    await h().update(
        memory_mb=256,
        vcpus=2,
        env={"C": "3"},
        args=["p", "q"],
        tags=["x", "y"],
        hostname="web-1",
        delete_lock=True,
        annotations={"example.com/team": "core"},
        schedules=[
            {"name": "n", "when": "*-*-* 09:00:00", "action": "exec", "args": ["/bin/true"]}
        ],
        autokill={"time_ms": 3600000, "num_requests": 5},
        scale_to_zero={
            "policy": "on",
            "cooldown_time_ms": 500,
            "stateful": True,
            "notify_time_ms": 10,
        },
        roms=[{"name": "r", "image": IMG}],
        plugins=[{"name": "p", "image": IMG, "config": {"a": 1}}],
        sched_priority="high",
        dependencies=[],
    )
    i = await h()
    assert (i.memory_mb, i.vcpus, i.env, i.args, i.tags, i.delete_lock) == (
        256,
        2,
        {"C": "3"},
        ["p", "q"],
        ["x", "y"],
        True,
    ), i
    assert i.schedules[0].next_at and i.schedules[0].args == ["/bin/true"], i.schedules
    assert i.scale_to_zero.enabled and i.scale_to_zero.notify_time_ms == 10
    assert i.roms[0].image and i.plugins[0].config == {"a": 1} and i.sched_priority == "high"
    await raises(UnikraftCloudError, h().delete())
    await h().edit().set(delete_lock=False).add(
        env={"D": "4"}, tags=["z"], annotations={"b": "c"}
    ).delete(env=["C"], tags=["x"], annotations=["b"], roms=["r"], schedules=["n"]).apply()
    i = await h()
    assert (
        (i.env, i.tags, i.annotations) == ({"D": "4"}, ["y", "z"], {"example.com/team": "core"})
        and not i.roms
        and not i.schedules
    ), i
    await h().update(autokill=REMOVE, plugins=REMOVE)
    i = await h()
    assert i.autokill is None and not i.plugins, i
    await h().edit().delete(env="D").apply()
    assert (await h()).env == {}
    await h().update(args="one two")
    assert (await h()).args == ["one", "two"]
    await h().update(image=IMG)
    for bad in [
        dict(memory_mb="x"),
        dict(hostname="-a"),
        dict(schedules=[{"name": "x", "when": "never", "action": "stop"}]),
        dict(schedules=[{"name": "x", "when": "daily", "action": "exec"}]),
        dict(annotations={"-": "x"}),
        dict(plugins=[{"name": "a b", "image": IMG}]),
        dict(tags=["t"] * 17),
        dict(vcpus=0),
        dict(delete_lock="yes"),
        dict(image="tester/none"),
    ]:
        await raises(UnikraftCloudError, h().update(**bad))
    await raises(
        UnikraftCloudError,
        u.instances.api.update_instances(
            body=[{"name": "e", "prop": "colour", "op": "set", "value": 1}]
        ),
    )
    r = await u.instances.api.update_instances(
        body=[
            m.UpdateInstancesRequestItem(name="e", id="k", prop="tags", op="set", value=["q"]),
            m.UpdateInstancesRequestItem(name="none", prop="tags", op="set", value=["q"]),
        ]
    )
    assert (
        r.status == "partial_success"
        and r.data.instances[0].id == "k"
        and r.data.instances[1].error == 8
    ), r
    await u.instances.get(name="e").delete()


@t
async def create_errors(u):
    for bad in [
        dict(image="tester/none"),
        dict(),
        dict(image=IMG, memory_mb=1),
        dict(image=IMG, vcpus=0),
        dict(image=IMG, timeout_s=5),
        dict(image=IMG, gpus=1),
        dict(
            image=IMG,
            type="full",
            scale_to_zero={"policy": "on"},
            service_group={"services": [{"port": 443, "handlers": ["tls", "http"]}]},
        ),
        dict(image=IMG, features=["delete-on-stop"], restart_policy="always"),
        dict(image=IMG, scale_to_zero={"policy": "on"}),
        dict(image=IMG, volumes=[{"name": "no", "at": "/x"}]),
        dict(image=IMG, volumes=[{"size_mb": 1, "at": "x"}]),
        dict(image=IMG, service_group={"name": "none"}),
        dict(image=IMG, service_group={"services": [{"port": 80, "handlers": ["tls"]}]}),
        dict(image=IMG, template={"name": "none"}),
        dict(template={"name": "none"}),
        dict(checkpoint={"name": "none"}),
        dict(branch_from={"name": "none"}),
        dict(image=IMG, roms=[{"name": "x"}]),
        dict(image=IMG, plugins=[{"name": "x"}]),
        dict(image=IMG, plugins=[{"name": f"p{i}", "image": IMG} for i in range(9)]),
        dict(image=IMG, dependencies=[{"name": "none"}]),
        dict(image=IMG, hostname="a_b"),
    ]:
        await raises(UnikraftCloudError, u.instances.create(**bad))
    assert await u.instances.list() == []
    assert [v async for v in u.volumes.list()] == []


@t
async def crash(u):
    e = await raises(
        ri.InstanceStoppedError,
        u.instances.create(image="tester/bad:latest", name="bad", autostart=True, timeout_s=10),
    )
    assert e.instance.state == "stopped" and e.stop, e
    await u.instances.get(name="bad").delete()


@t
async def lapse(u):
    async with httpx.AsyncClient() as c:
        await c.put(BASE + "/_emulator/settings", json={"start_ms": 3000})
    try:
        e = await raises(
            WaitTimeoutError,
            u.instances.create(image=IMG, name="slow", autostart=True, timeout_s=1),
        )
        assert e.state == "starting" and e.errors[0].uuid, e
        await u.instances.get(name="slow").delete()
    finally:
        async with httpx.AsyncClient() as c:
            await c.put(BASE + "/_emulator/settings", json={"start_ms": 20})


@t
async def pages(u):
    for k in range(7):
        await u.volumes.create(name=f"v{k}", size_mb=1, tags=["odd"] if k % 2 else ["even"])
    assert [v.name for v in await u.volumes.list(page_size=2)] == [f"v{k}" for k in range(7)]
    a = u.volumes.api
    assert [v.name for v in (await a.get_volumes(order="desc", count=2)).data.volumes] == [
        "v6",
        "v5",
    ]
    assert len((await a.get_volumes(count=0)).data.volumes) == 7
    assert [v.name for v in (await a.get_volumes(tags=["odd"])).data.volumes] == ["v1", "v3", "v5"]
    b = (await a.get_volumes(details=False)).data.volumes[0]
    assert b.name == "v0" and b.size_mb is None
    assert len((await a.get_volumes(from_="2020-01-01T00:00:00Z")).data.volumes) == 7
    assert len((await a.get_volumes(from_="2099-01-01T00:00:00Z")).data.volumes) == 0
    await raises(UnikraftCloudError, a.get_volumes(order="up"), status=400)
    await raises(UnikraftCloudError, a.get_volumes(count=-1), status=400)
    await raises(UnikraftCloudError, a.get_volumes(uuid=["x"]), status=400)
    r = await a.get_volumes(name=["v0", "none"])
    assert r.status == "partial_success"
    r = await a.delete_volumes(body=[m.NameOrUUID(name=f"v{k}") for k in range(7)])
    assert len(r.data.volumes) == 7 and r.op_time_us is not None
    await u.volumes.create(name="one", size_mb=4)
    await raises(AlreadyExistsError, u.volumes.create(name="one", size_mb=4))
    await raises(UnikraftCloudError, u.volumes.create(name="two"))
    await raises(UnikraftCloudError, u.volumes.create(name="two", size_mb=0))


@t
async def volumes(u):
    i = await u.instances.create(image=IMG, name="user")
    await u.volumes.get(name="one").attach(to="user", at="/data", readonly=True)
    v = await u.volumes.get(name="one")
    assert v.state == "idle" and v.attached_to[0].name == "user", v
    i = await u.instances.get(name="user")
    assert i.volumes[0].at == "/data" and i.volumes[0].readonly
    await raises(UnikraftCloudError, u.volumes.get(name="one").attach(to="user", at="/x"))
    await raises(UnikraftCloudError, u.volumes.get(name="one").delete())
    await u.instances.get(name="user").start()
    await u.instances.get(name="user").wait(state="running")
    v = await u.volumes.get(name="one")
    assert v.state == "mounted" and v.mounted_by[0].readonly
    await raises(UnikraftCloudError, u.volumes.get(name="one").detach())
    await u.instances.get(name="user").delete()
    v = await u.volumes.get(name="one")
    assert v.state == "available"
    await raises(UnikraftCloudError, u.volumes.get(name="one").update(size_mb=1))
    await u.volumes.get(name="one").update(
        size_mb=8, tags=["k"], quota_policy="dynamic", delete_lock=True
    )
    await raises(UnikraftCloudError, u.volumes.get(name="one").delete())
    await u.volumes.get(name="one").update(delete_lock=False)
    await u.volumes.api.clone_volumes(body=[m.CloneVolumesRequestItem(name="one", vol_name="two")])
    v = await u.volumes.get(name="two")
    assert v.size_mb == 8 and v.quota_policy == "dynamic", v
    await u.volumes.create(name="sh", size_mb=1, access_mode="rwx")
    await u.instances.create(image=IMG, name="i1", volumes=[{"name": "sh", "at": "/s"}])
    await u.instances.create(
        image=IMG,
        name="i2",
        volumes=[{"name": "sh", "at": "/s"}, {"name": "fresh", "size_mb": 3, "at": "/n"}],
    )
    assert (
        len((await u.volumes.get(name="sh")).attached_to) == 2
        and (await u.volumes.get(name="fresh")).size_mb == 3
    )
    await u.instances.delete(["i1", "i2"])
    await raises(NotFoundError, u.volumes.get(name="fresh"))
    await u.volumes.delete(["one", "two", "sh"])


@t
async def services(u):
    g = await u.services.create(
        name="g",
        services=[{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
        domains=[{"name": "shop"}],
        soft_limit=3,
    )
    assert (
        g.soft_limit == 3
        and g.persistent
        and g.domains[0].fqdn.startswith("shop.")
        and g.created_at
        and g.autoscale is False
    ), g
    await raises(
        AlreadyExistsError,
        u.services.create(name="g", services=[{"port": 443, "handlers": ["tls", "http"]}]),
    )
    await raises(
        AlreadyExistsError,
        u.services.create(
            name="g2",
            services=[{"port": 443, "handlers": ["tls", "http"]}],
            domains=[{"name": "shop"}],
        ),
    )
    await raises(UnikraftCloudError, u.services.create(name="g3", services=[]))
    await raises(
        UnikraftCloudError,
        u.services.create(name="g3", services=[{"port": 6379, "handlers": ["http"]}]),
    )
    h = lambda: u.services.get(name="g")
    await h().edit().add(
        services=[{"port": 6379, "handlers": ["tls"], "protocol": "tcp"}],
        domains=[{"name": "other"}],
    ).set(soft_limit=5, hard_limit=50).apply()
    g = await h()
    assert (
        [s.port for s in g.services] == [443, 6379]
        and len(g.domains) == 2
        and g.hard_limit == 50
        and g.services[1].protocol == "tcp"
    ), g
    await h().edit().delete(services=[{"port": 6379}]).apply()
    g = await h()
    assert [s.port for s in g.services] == [443]
    await raises(UnikraftCloudError, h().update(soft_limit=60))
    await u.instances.create(image=IMG, name="m", service_group={"name": "g"}, autostart=True)
    i = await u.instances.get(name="m")
    assert i.service_group.name == "g" and i.services
    g = await h()
    assert g.instances[0].name == "m"
    await raises(UnikraftCloudError, h().delete())
    await u.instances.get(name="m").delete()
    await h().delete()
    await raises(NotFoundError, h())


@t
async def certs(u):
    c = await u.certificates.create(name="c", common_name="a.example", chain=CHAIN, pkey=PKEY)
    assert c.state == "valid" and c.not_after and c.serial_number
    await raises(
        AlreadyExistsError,
        u.certificates.create(name="c", common_name="a.example", chain=CHAIN, pkey=PKEY),
    )
    await raises(UnikraftCloudError, u.certificates.create(name="d", chain=CHAIN, pkey=PKEY))
    await raises(
        UnikraftCloudError, u.certificates.create(name="d", common_name="a", chain="x", pkey=PKEY)
    )
    await u.services.create(
        name="cg",
        services=[{"port": 443, "handlers": ["tls", "http"]}],
        domains=[{"name": "a.example.", "certificate": {"name": "c"}}],
    )
    c = await u.certificates.get(name="c")
    assert c.service_groups[0].name == "cg"
    await raises(UnikraftCloudError, u.certificates.get(name="c").delete())
    await u.services.get(name="cg").delete()
    n = await u.certificates.api.update_certificates(
        body=[m.UpdateCertificatesRequestItem(name="c", chain=CHAIN, pkey=PKEY)]
    )
    await u.certificates.get(name="c").delete()


@t
async def templates(u):
    tp = await u.templates.prepare(
        "w",
        create_args={"image": IMG, "memory_mb": 32, "tags": ["job"], "annotations": {"a": "1"}},
        autokill_ms=3600000,
    )
    assert tp.state == "template" and tp.template_autokill.time_ms == 3600000, tp
    assert await u.templates.prepare("w", create_args={"image": IMG})
    j = await u.templates.get(name="w").clone(
        name="job",
        annotations={"b": "2"},
        roms=[
            {
                "name": "j",
                "at": "/mnt/j",
                "files": [{"path": "a", "data": "aGk=", "encoding": "base64"}],
            }
        ],
        autostart=True,
        timeout_s=5,
    )
    assert j.memory_mb == 32 and j.annotations == {"a": "1", "b": "2"} and j.state == "running", j
    assert [x.name async for x in u.templates.list()] == ["w"] and [
        x.name async for x in u.instances.list()
    ] == ["job"]
    api = u.instances.api
    r = await api.create_checkpoint_instances(
        body=[
            m.CreateCheckpointInstancesRequestItem(
                **{"from": m.NameOrUUID(name="job")}, name="cp", tags=["x"], timeout_s=5
            )
        ]
    )
    assert r.data.instances[0].state == "checkpoint"
    await u.instances.create(name="back", checkpoint={"name": "cp"})
    assert (await u.instances.get(name="back").history())[0].history[0].name == "cp"
    b = await u.instances.create(
        name="br", branch_from={"name": "job"}, autostart=True, timeout_s=5
    )
    assert b.state == "running"
    await raises(
        UnikraftCloudError, u.instances.create(name="x", template={"name": "w"}, image=IMG)
    )
    await raises(
        UnikraftCloudError, u.instances.create(name="x", template={"name": "w"}, type="full")
    )
    r = await api.create_template_instances(
        body=[
            m.CreateTemplateInstancesRequestItem(name="br", timeout_s=5),
            m.CreateTemplateInstancesRequestItem(name="none"),
        ]
    )
    assert r.status == "partial_success" and r.data.instances[0].state == "template"
    await raises(UnikraftCloudError, u.instances.get(name="br").start())
    await u.instances.create(name="full", image=IMG, type="full", gpus=1)
    f = await u.instances.get(name="full")
    assert f.gpus[0].model.count(":") == 1
    r = await api.create_template_instances(
        body=[m.CreateTemplateInstancesRequestItem(name="full")]
    )
    assert r.status == "error"
    await u.templates.get(name="br").delete()
    await u.templates.get(name="w").delete()
    await api.delete_checkpoint_instances(body=[m.NameOrUUID(name="cp")])
    await u.instances.delete(["job", "back", "full"])
    assert await u.instances.list() == []


@t
async def images(u):
    assert (
        await u.images.exists(IMG)
        and not await u.images.exists("tester/none:1")
        and await u.images.find("nowhere/x") is None
    )
    assert (await u.images.find(IMG)).digest.startswith("sha256:")
    r = await u.images.api.pin_images(
        body=[
            m.PinImageRequestItem(url=IMG, timeout_s=-1),
            m.PinImageRequestItem(url="tester/none", timeout_s=5),
        ]
    )
    assert (
        r.status == "partial_success"
        and r.data.images[0].state == "ready"
        and r.data.images[0].persistent
        and r.data.images[0].tags
    ), r
    assert (await u.images.list())[0].persistent
    await raises(UnikraftCloudError, asyncio.shield(asyncio.ensure_future(bad_unpin(u))))
    await u.images.api.unpin_images(body=[m.UnpinImageRequestItem(uuid=r.data.images[0].uuid)])


async def bad_unpin(u):

    r = await u.images.api.unpin_images(
        body=[m.UnpinImageRequestItem(uuid="00000000-0000-4000-8000-000000000000")]
    )
    raise_for_envelope(r)


@t
async def builds(u):

    src = git_source("https://github.com/acme/app.git", "main", subdir="app")
    b = await u.builds.create(
        kraftfile=kraftfile_from(src),
        contexts={"context": src},
        output=[image_output("index.unikraft.io/tester/app:1")],
    )
    ev = [e async for e in b.logs()]
    assert ev[-1].result.images[0].ref
    tx = "".join([l async for l in b.plain_logs()])
    assert "pushed index.unikraft.io/tester/app:1@sha256:" in tx, tx
    assert (await b.refresh()).status == "succeeded" and (await b.cancel()).status == "succeeded"
    assert [x.id for x in await u.builds.list(status="succeeded", limit=5)] == [
        b.id
    ] and await u.builds.list(status="failed") == []
    e = await raises(
        UnikraftCloudError,
        u.builds.create(contexts={"context": {"session": "x"}}, output=[image_output("a/b:1")]),
        status=400,
    )
    assert e.errors[0].code == "unsupported"
    e = await raises(
        UnikraftCloudError, u.builds.create(contexts={"context": src}, output=[]), status=400
    )
    assert e.errors[0].code == "invalid"
    f = await u.builds.create(
        contexts={"context": git_source("https://no.invalid/x.git")}, output=[image_output("a/b:1")]
    )
    assert (await f.refresh()).status == "failed" and [e async for e in f.logs()][
        -1
    ].error.code == "failed"
    await b.delete()
    await f.delete()
    await raises(NotFoundError, u.builds.get(b.id))
    assert await u.images.exists("tester/app:1")


@t
async def control(u):
    n = NodeServiceApi(
        ApiClientConfig(base_url=BASE + "/controlplane", token=TOKEN, trust_env=False)
    )
    a = (
        await n.provision_node(
            body=plane.ProvisionNodeRequest(
                name="n1", cloudprovider="aws", ssh_keys=[], tags={"a": "b"}
            )
        )
    ).data.node
    b = (
        await n.provision_node(
            body=plane.ProvisionNodeRequest(name="n2", cloudprovider="manual", ssh_keys=[])
        )
    ).data.node
    r = (await n.list_nodes(limit=1, offset=1)).data
    assert r.total_count == 2 and [x.name for x in r.nodes] == ["n2"]
    assert (await n.list_nodes(cloudprovider="aws", state="ready")).data.total_count == 1
    await raises(NotFoundError, n.get_node_by_uuid("00000000-0000-4000-8000-000000000000"))
    r = await n.update_node_by_uuid(
        a.uuid,
        body=[plane.UpdateNodePayload(property="delete_lock", operation="set", value="true")],
    )
    assert r.data.nodes[0].delete_lock
    await raises(UnikraftCloudError, n.destroy_node_by_uuid(a.uuid))
    await n.update_nodes(
        property=["delete_lock"],
        operation=["set"],
        value=["false"],
        body=[plane.NameOrUUID(name="n1")],
    )
    await n.destroy_node(body=[plane.NameOrUUID(uuid=a.uuid), plane.NameOrUUID(name="n2")])
    assert (await n.list_nodes()).data.total_count == 0
    au = AuthApi(ApiClientConfig(base_url=BASE + "/controlplane", token=TOKEN, trust_env=False))
    s = (await au.request_signin(body=plane.RequestSigninRequest(hostname="h"))).data
    async with httpx.AsyncClient() as c:
        await c.get(s.authorization_url)
    async for e in au.check_authorization(
        body=plane.CheckAuthorizationRequest(request_id=s.request_id)
    ):
        assert e.data.token == TOKEN


@t
async def auth(u):
    async with client("bad") as w:
        await raises(AuthenticationError, w.instances.list())
        await raises(AuthenticationError, w.users.quotas())
        await raises(AuthenticationError, w.builds.list())
        await raises(AuthenticationError, w.images.find(IMG))
    q = (await u.users.quotas())[0]
    assert q.used.instances == 0 and q.hard.instances and q.limits.max_memory_mb, q
    await raises(NotFoundError, check_user(u))


async def check_user(u):

    raise_for_envelope(await u.users.api.get_user_by_uuid("00000000-0000-4000-8000-000000000000"))


@t
async def plugin(u):
    i = await u.instances.create(
        image=IMG,
        name="pl",
        autostart=True,
        timeout_s=5,
        plugins=[{"name": "echo", "image": IMG, "config": 3}],
    )
    r = await u.instances.get(name="pl").plugin("echo").route()
    assert r.instance_uuid == i.uuid
    async with httpx.AsyncClient() as c:
        a = (
            await c.post(
                r.url + "/do/it?x=1", json={"k": 1}, headers={"authorization": "Bearer " + TOKEN}
            )
        ).json()
        assert a["path"] == "/do/it" and a["body"] == {"k": 1} and a["config"] == 3, a
        assert (
            await c.get(r.url + "x/y", headers={"authorization": "Bearer " + TOKEN})
        ).status_code == 404
        assert (await c.get(r.url + "/y")).status_code == 401
    await u.instances.get(name="pl").delete()


@t
async def autokill(u):
    await u.instances.create(
        image=IMG, name="k", autostart=True, timeout_s=5, autokill={"time_ms": 100}
    )
    await u.instances.get(name="k").stop()
    for _ in range(100):
        await asyncio.sleep(0.05)
        if not await u.instances.list():
            break
    assert not await u.instances.list()
    await u.instances.create(
        image=IMG,
        name="s",
        autostart=True,
        timeout_s=5,
        schedules=[
            {"name": "x", "when": "*-*-* *:*:*", "action": "exec", "args": ["/bin/x", "y"]},
            {"name": "z", "when": "*:*:*", "action": "stop"},
        ],
    )
    await u.instances.get(name="s").wait(state="stopped", timeout_seconds=5)
    l = await u.instances.get(name="s").logs(offset=0)
    assert b"exec: /bin/x y" in base64.b64decode(l.output), l
    await u.instances.get(name="s").delete()


async def main():
    bad = 0
    async with client() as u:
        for f in tests:
            if len(sys.argv) > 3 and f.__name__ not in sys.argv[3:]:
                continue
            try:
                await f(u)
                print("ok", f.__name__)
            except BaseException as e:
                bad += 1
                print("FAIL", f.__name__)
                tb = traceback.extract_tb(e.__traceback__)
                for x in tb:
                    if x.filename.endswith("sdk_edges.py"):
                        print("   ", x.lineno, x.line[:200])
                print("   ", type(e).__name__, str(e)[:700])
    sys.exit(bad)


asyncio.run(main())
