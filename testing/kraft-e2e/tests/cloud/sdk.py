"""Drives the emulated cloud through the platform's official SDK for Python.

usage: sdk.py BASE TOKEN STEP

BASE is the emulator without `/v1`. `all` calls every operation that the emulator claims and prints
the name of each that worked; `make` and `see` are the two directions beside `kraft cloud`.
"""

import asyncio
import sys
import warnings

from unikraft_cloud import REMOVE, UnikraftCloud
from unikraft_cloud.api.build import BuildsApi
from unikraft_cloud.api.build import models_gen as build
from unikraft_cloud.api.controlplane import (
    AuthApi,
    ImagesApi as CatalogueApi,
    MetrosApi,
    NodeServiceApi,
)
from unikraft_cloud.api.controlplane import models_gen as plane
from unikraft_cloud.api.platform import (
    AuditApi,
    AutoscaleApi,
    CertificatesApi,
    ImagesApi,
    InstancesApi,
    NodeApi,
    ServicesApi,
    UsersApi,
    VolumesApi,
)
from unikraft_cloud.api.platform import models_gen as m
from unikraft_cloud.core.http import ApiClientConfig

BASE, TOKEN, STEP = sys.argv[1:4]
CHAIN = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
PKEY = "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"
done: set[str] = set()


class Api:
    """An API whose successful calls are counted by name."""

    def __init__(self, api, base=BASE):
        self.api = api(ApiClientConfig(base_url=base, token=TOKEN, trust_env=False))
        self.kind = api.__name__

    def __getattr__(self, name):
        async def call(*args, **kwargs):
            answer = await getattr(self.api, name)(*args, **kwargs)
            status = getattr(answer, "status", "success")
            if status != "success":
                raise AssertionError(f"{self.kind}.{name}: {answer}")
            done.add(f"{self.kind}.{name}")
            return answer

        return call


def ids(*names):
    return [m.NameOrUUID(name=name) for name in names]


async def pages(call, *uuids):
    """Reads a list in pages of one, and insists on what it holds."""
    seen, cursor = [], None
    while True:
        answer = await call(count=1 if cursor is None else 2, from_=cursor, order="asc")
        items = next(iter(answer.data.model_dump().values())) or []
        items = [one["uuid"] for one in items if one["uuid"] != cursor]
        if not items:
            break
        seen += items
        cursor = items[-1]
    for uuid in uuids:
        assert uuid in seen, (uuid, seen)


async def instances():
    api = Api(InstancesApi)
    body = m.CreateInstanceRequest(
        name="web", image="tester/web:latest", memory_mb=64, autostart=True, timeout_s=30,
        tags=["prod", "blue"], annotations={"team": "a"}, hostname="web", env={"A": "b"},
        roms=[m.CreateInstanceRequestRom(name="conf", at="/conf", files=[
            m.InlineFile(path="a.txt", data="hello")])],
        plugins=[m.CreateInstanceRequestPlugin(name="sandbox", image="plugins/sandbox:latest")],
        schedules=[m.Schedule(name="night", when="daily", action="stop")],
        autokill=m.CreateInstanceRequestAutokill(time_ms=3600000),
        network_interfaces=[m.CreateInstanceRequestNetworkInterface(ip="10.0.0.2/24")],
        service_group=m.CreateInstanceRequestServiceGroup(services=[
            m.Service(port=443, destination_port=8080, handlers=["tls", "http"])]),
        scale_to_zero=m.CreateInstanceScaleToZero(policy="on", cooldown_time_ms=3600000),
    )
    web = (await api.create_instance(body=body)).data.instances[0]
    assert (web.state, web.tags, web.roms[0].files[0].data) == ("running", ["prod", "blue"], "hello")
    assert web.plugins[0].image == "plugins/sandbox:latest" and web.services == ["tls:443"], web
    full = m.CreateInstanceRequest(name="full", image=m.ImageSpec(url="tester/web:latest"),
                                   type="full", gpus=1, vcpus=4)
    full = (await api.create_instance(body=full)).data.instances[0]
    assert full.gpus[0].model and full.type == "full" and full.vcpus == 4
    u = web.uuid
    await pages(api.get_instances, u, full.uuid)
    tagged = (await api.get_instances(tags=["blue"], details=True)).data.instances
    assert [one.name for one in tagged] == ["web"], tagged
    named = (await api.get_instances(name=["full", "web"])).data.instances
    assert [one.name for one in named] == ["full", "web"]
    assert (await api.get_instance_by_uuid(u, details=True)).data.instances[0].name == "web"
    logs = await api.get_instance_logs(uuid=[u], offset=[0], limit=[5], body=[])
    assert logs.data.instances[0].range.end == 5, logs
    logs = await api.get_instance_logs_by_uuid(u, body=m.GetInstanceLogsByUUIDRequestBody(offset=-2))
    assert logs.data.instances[0].state == "running"
    assert (await api.get_instance_metrics(name=["web"])).data.instances[0].rss_bytes > 0
    await api.get_instance_metrics_by_uuid(u)
    await api.suspend_instances(body=[m.SuspendInstancesRequestItem(name="web")])
    await api.start_instances(body=[m.StartInstancesRequestItem(name="web", timeout_s=5)])
    await api.suspend_instance_by_uuid(u, body=m.SuspendInstanceByUUIDRequestBody())
    waited = await api.wait_instances(uuid=[u], state=["standby"], timeout_s=[30], body=[])
    assert waited.data.instances[0].state == "standby"
    await api.start_instance_by_uuid(u, body=m.StartInstanceByUUIDRequestBody(timeout_s=5))
    body = m.WaitInstanceByUUIDRequestBody(state="running", timeout_s=30)
    await api.wait_instance_by_uuid(u, body=body)
    edits = [
        m.UpdateInstancesRequestItem(name="web", id="1", prop="tags", op="del", value=["blue"]),
        m.UpdateInstancesRequestItem(name="web", id="2", prop="annotations", op="add",
                                     value={"more": "b"}),
    ]
    assert [one.id for one in (await api.update_instances(body=edits)).data.instances] == ["1", "2"]
    edit = m.UpdateInstanceByUUIDRequestBody(prop="memory_mb", op="set", value=128)
    await api.update_instance_by_uuid(u, body=edit)
    now = (await api.get_instance_by_uuid(u)).data.instances[0]
    assert (now.tags, now.annotations) == (["prod"], {"team": "a", "more": "b"})
    assert now.memory_mb == 64 and now.updates[0].prop == "memory_mb"
    await api.stop_instances(body=[m.StopInstancesRequestItem(name="web", force=True)])
    now = (await api.get_instance_by_uuid(u)).data.instances[0]
    assert now.memory_mb == 128 and not now.updates
    await api.start_instances(body=[m.StartInstancesRequestItem(uuid=u, timeout_s=30)])
    body = m.StopInstanceByUUIDRequestBody(drain_timeout_ms=1, ifstate="running")
    await api.stop_instance_by_uuid(u, body=body)
    await api.wait_instances(name=["web"], state=["stopped"], timeout_s=[30], body=[])
    # Checkpoints, and what came from them.
    item = m.CreateCheckpointInstancesRequestItem
    made = await api.create_checkpoint_instances(body=[
        item(**{"from": m.NameOrUUID(name="web")}, name="before", tags=["t"]),
        item(**{"from": m.NameOrUUID(uuid=u)}, name="spare")])
    before, spare = made.data.instances
    assert before.state == "checkpoint"
    await pages(api.get_checkpoint_instances, before.uuid, spare.uuid)
    await api.get_checkpoint_instance_by_uuid(before.uuid, details=True)
    edit = m.UpdateCheckpointInstancesRequestItem(name="before", prop="tags", op="add", value=["u"])
    await api.update_checkpoint_instances(body=[edit])
    edit = m.UpdateCheckpointInstanceByUUIDRequestBody(prop="delete_lock", op="set", value=True)
    await api.update_checkpoint_instance_by_uuid(before.uuid, body=edit)
    edit = m.UpdateCheckpointInstanceByUUIDRequestBody(prop="delete_lock", op="set", value=False)
    await api.update_checkpoint_instance_by_uuid(before.uuid, body=edit)
    body = m.CreateInstanceRequest(name="restored", checkpoint=m.NameOrUUID(name="before"))
    await api.create_instance(body=body)
    past = (await api.get_instance_history(name=["restored"])).data.instances[0]
    assert past.history[0].name == "before", past
    await api.get_instance_history_by_uuid(past.uuid)
    await api.get_checkpoint_history(name=["before"])
    await api.get_checkpoint_history_by_uuid(before.uuid)
    await api.delete_checkpoint_instances(body=ids("spare"))
    await api.delete_checkpoint_instance_by_uuid(before.uuid)
    # A branch of an instance, and templates.
    body = m.CreateInstanceRequest(name="branch", branch_from=m.NameOrUUID(name="web"))
    await api.create_instance(body=body)
    made = await api.create_template_instances(body=[
        m.CreateTemplateInstancesRequestItem(name="branch", timeout_s=5),
        m.CreateTemplateInstancesRequestItem(name="restored", timeout_s=5)])
    template = made.data.instances[0]
    assert template.state == "template"
    await pages(api.get_template_instances, *[one.uuid for one in made.data.instances])
    await api.get_template_instance_by_uuid(template.uuid)
    edit = m.UpdateTemplateInstancesRequestItem(name="branch", prop="tags", op="set", value=["v3"])
    await api.update_template_instances(body=[edit])
    edit = m.UpdateTemplateInstanceByUUIDRequestBody(prop="autokill", op="set",
                                                     value={"time_ms": 3600000})
    await api.update_template_instance_by_uuid(template.uuid, body=edit)
    body = m.CreateInstanceRequest(
        name="clone", template=m.CreateInstanceRequestTemplate(name="branch"), autostart=True)
    clone = (await api.create_instance(body=body)).data.instances[0]
    assert clone.memory_mb == 128, clone
    await autoscale(template)
    await api.delete_template_instances(body=ids("restored"))
    await api.delete_template_instance_by_uuid(template.uuid)
    await api.delete_instances(body=[m.DeleteInstanceRequestItem(name="clone", timeout_s=5),
                                     m.DeleteInstanceRequestItem(uuid=full.uuid)])
    await api.delete_instance_by_uuid(u, body=m.DeleteInstanceByUUIDRequestBody(timeout_s=5))
    assert (await api.get_instances()).data.instances == []


async def autoscale(template):
    services, api = Api(ServicesApi), Api(AutoscaleApi)
    for name in ["scaled", "second"]:
        body = m.CreateServiceGroupRequest(name=name, services=[
            m.Service(port=443, handlers=["tls", "http"])])
        group = (await services.create_service_group(body=body)).data.service_groups[0]
    steps = [m.AutoscalePolicyStep(lower_bound=600, adjustment=50)]
    policy = m.AutoscalePolicy(name="busy", metric="cpu", adjustment_type="percentage", steps=steps)
    args = m.ConfigurationInstanceCreateArgs(template=m.NameOrUUID(name=template.name))
    body = m.CreateAutoscaleConfigurationsRequestConfiguration(
        name="scaled", min_size=1, max_size=3, create_args=args, policies=[policy])
    await api.create_autoscale_configurations(body=[body])
    args = m.CreateAutoscaleConfigurationByServiceGroupUUIDRequestInstanceCreateArgs(
        template=m.NameOrUUID(uuid=template.uuid))
    body = m.CreateAutoscaleConfigurationByServiceGroupUUIDRequest(uuid=group.uuid, create_args=args)
    await api.create_autoscale_configuration_by_service_group_uuid(group.uuid, body=body)
    how = (await api.get_autoscale_configurations(name=["scaled"])).data.service_groups[0]
    assert how.template.name == template.name and how.max_size == 3, how
    assert how.policies[0].adjustment_type == "percentage"
    await api.get_autoscale_configurations_by_service_group_uuid(group.uuid)
    for name in ["idle", "calm"]:
        body = m.CreateAutoscaleConfigurationPolicyRequest(
            name=name, type=m.AutoscalePolicy(name=name, metric="cpu", adjustment_type="change",
                                              steps=[m.AutoscalePolicyStep(upper_bound=100,
                                                                           adjustment=-1)]))
        await api.create_autoscale_configuration_policy(group.uuid, body=body)
    body = m.GetAutoscaleConfigurationPolicyRequest(name="idle")
    found = await api.get_autoscale_configuration_policies(group.uuid, body=body)
    assert [one.policy.name for one in found.data.policies] == ["idle"]
    found = await api.get_autoscale_configuration_policies(group.uuid)
    assert len(found.data.policies) == 2
    found = await api.get_autoscale_configuration_policy_by_name(group.uuid, "calm")
    assert found.data.policies[0].policy.steps[0].adjustment == -1
    body = m.DeletePolicyRequest(name="idle")
    await api.delete_autoscale_configuration_policies(group.uuid, body=body)
    await api.delete_autoscale_configuration_policy_by_name(group.uuid, "calm")
    await api.delete_autoscale_configurations(body=ids("scaled"))
    await api.delete_autoscale_configurations_by_service_group_uuid(group.uuid)
    await services.delete_service_groups(body=ids("scaled", "second"))


async def services():
    api = Api(ServicesApi)
    made = []
    for name in ["front", "back"]:
        body = m.CreateServiceGroupRequest(
            name=name, soft_limit=2, hard_limit=9,
            services=[m.Service(port=443, destination_port=80, handlers=["tls", "http"])],
            domains=[m.CreateServiceGroupRequestDomain(name=name)],
            autokill=m.CreateServiceGroupRequestAutokill(time_ms=3600000))
        made += (await api.create_service_group(body=body)).data.service_groups
    front, back = (one.uuid for one in made)
    await pages(api.get_service_groups, front, back)
    group = (await api.get_service_group_by_uuid(front, details=True)).data.service_groups[0]
    assert (group.hard_limit, group.autokill.time_ms) == (9, 3600000)
    edit = m.UpdateServiceGroupsRequestItem(name="front", prop="hard_limit", op="set", value=10)
    await api.update_service_groups(body=[edit])
    edit = m.UpdateServiceGroupByUUIDRequestBody(
        prop="services", op="add", value=[{"port": 80, "handlers": ["http", "redirect"]}])
    await api.update_service_group_by_uuid(front, body=edit)
    group = (await api.get_service_groups(name=["front"])).data.service_groups[0]
    assert (group.hard_limit, [one.port for one in group.services]) == (10, [443, 80])
    await api.delete_service_groups(body=ids("back"))
    await api.delete_service_group_by_uuid(front)


async def volumes():
    api = Api(VolumesApi)
    for name in ["data", "base"]:
        body = m.CreateVolumeRequest(name=name, size_mb=16, tags=["a"], quota_policy="dynamic")
        await api.create_volume(body=body)
    data, base = (await api.get_volumes(name=["data", "base"])).data.volumes
    assert data.size_mb == 16 and data.tags == ["a"] and data.free_mb is not None
    u = data.uuid
    await pages(api.get_volumes, u, base.uuid)
    await api.get_volume_by_uuid(u, details=True)
    edit = m.UpdateVolumesRequestItem(name="data", prop="size_mb", op="set", value=32)
    await api.update_volumes(body=[edit])
    edit = m.UpdateVolumeByUUIDRequestBody(prop="tags", op="add", value=["b"])
    await api.update_volume_by_uuid(u, body=edit)
    now = (await api.get_volume_by_uuid(u)).data.volumes[0]
    assert (now.size_mb, now.tags) == (32, ["a", "b"])
    await api.clone_volumes(body=[m.CloneVolumesRequestItem(name="data", vol_name="copy")])
    await api.clone_volume_by_uuid(u, body=m.CloneVolumeByUUIDRequestBody(vol_name="copy2"))
    body = m.CreateInstanceRequest(name="user", image="tester/web:latest")
    await Api(InstancesApi).create_instance(body=body)
    user = m.NameOrUUID(name="user")
    body = m.AttachVolumesRequestItem(name="data", attach_to=user, at="/data")
    await api.attach_volumes(body=[body])
    await api.detach_volumes(body=[m.DetachVolumesRequestItem(name="data")])
    body = m.AttachVolumeByUUIDRequestBody(attach_to=user, at="/data", readonly=True)
    await api.attach_volume_by_uuid(u, body=body)
    attached = (await api.get_volume_by_uuid(u)).data.volumes[0].attached_to
    assert [one.name for one in attached] == ["user"]
    await api.detach_volume_by_uuid(u, body=m.DetachVolumeByUUIDRequestBody(**{"from": user}))
    await Api(InstancesApi).delete_instances(body=[m.DeleteInstanceRequestItem(name="user")])
    await api.create_template_volume(body=ids("base", "copy2"))
    await pages(api.get_template_volumes, base.uuid)
    template = (await api.get_template_volume_by_uuid(base.uuid)).data.volumes[0]
    assert template.state == "template"
    edit = m.UpdateTemplateVolumesRequestItem(name="base", prop="tags", op="set", value=["v1"])
    await api.update_template_volumes(body=[edit])
    edit = m.UpdateTemplateVolumeByUUIDRequestBody(prop="tags", op="add", value=["v2"])
    await api.update_template_volume_by_uuid(base.uuid, body=edit)
    body = m.CreateVolumeRequest(name="made", template=m.NameOrUUID(name="base"))
    await api.create_volume(body=body)
    await api.delete_template_volumes(body=ids("copy2"))
    await api.delete_template_volume_by_uuid(base.uuid)
    await api.delete_volumes(body=ids("copy", "made"))
    await api.delete_volume_by_uuid(u)


async def certificates():
    api = Api(CertificatesApi)
    body = m.CreateCertificateRequest(name="tls", common_name="a.example", chain=CHAIN, pkey=PKEY)
    await api.create_certificate(body=body)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        body = m.CreateCertificateRequest(name="old", cn="b.example", chain=CHAIN, pkey=PKEY)
        await api.create_certificate(body=body)
        assert any("common_name" in str(one.message) for one in told), told
    tls = (await api.get_certificates(name=["tls"])).data.certificates[0]
    await pages(api.get_certificates, tls.uuid)
    item = m.UpdateCertificatesRequestItem(name="tls", chain=CHAIN, pkey=PKEY)
    new = (await api.update_certificates(body=[item])).data.certificates[0]
    assert new.serial_number != tls.serial_number
    body = m.UpdateCertificateByUUIDRequestBody(chain=CHAIN, pkey=PKEY)
    await api.update_certificate_by_uuid(tls.uuid, body=body)
    await api.get_certificate_by_uuid(tls.uuid)
    await api.delete_certificates(body=ids("old"))
    await api.delete_certificate_by_uuid(tls.uuid)


async def rest():
    images = Api(ImagesApi)
    found = (await images.get_image_store(tag="tester/web:latest")).data.images
    assert len(found) == 1 and found[0].url.startswith("oci://"), found
    assert (await images.get_images()).data.images == []
    item = m.PinImageRequestItem(url=found[0].url, timeout_s=-1)
    pin = (await images.pin_images(body=[item])).data.images[0]
    body = [m.GetImagesRequestTagOrDigest(tag="tester/web:latest")]
    assert len((await images.get_images(body=body)).data.images) == 1
    await images.unpin_images(body=[m.UnpinImageRequestItem(uuid=pin.uuid)])
    users = Api(UsersApi)
    quota = (await users.get_user()).data.quotas[0]
    await users.get_user_by_uuid(quota.uuid)
    health = await Api(NodeApi).healthz()
    assert set(health.data.checks.values()) == {"healthy"}
    # Events of an instance that starts.
    audit = AuditApi(ApiClientConfig(base_url=BASE, token=TOKEN, trust_env=False))

    async def listen():
        stream = audit.subscribe_audit_events(events=["vm.state_change"])
        async for event in stream:
            return event

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.5)
    api = Api(InstancesApi)
    body = m.CreateInstanceRequest(name="seen", image="tester/web:latest", autostart=True)
    seen = (await api.create_instance(body=body)).data.instances[0]
    event = await asyncio.wait_for(listening, 60)
    assert (event.object.uuid, event.data.new) == (seen.uuid, "starting"), event
    done.add("AuditApi.subscribe_audit_events")
    await api.delete_instance_by_uuid(seen.uuid)
    await audit.aclose()


async def control_plane():
    base = f"{BASE}/controlplane"
    metros = (await Api(MetrosApi, base).list_metros()).data.metros
    assert metros[0].endpoint.startswith(BASE), metros
    auth = Api(AuthApi, base)
    assert (await auth.get_authorization()).data.organization_name == "tester"
    images = (await Api(CatalogueApi, base).list_images(namespace=["tester"])).data.images
    assert images[0].name == "tester/web", images
    nodes = Api(NodeServiceApi, base)
    body = plane.ProvisionNodeRequest(name="n", cloudprovider="manual", ssh_keys=[])
    node = (await nodes.provision_node(body=body)).data.node
    assert (await nodes.list_nodes(name=["n"])).data.total_count == 1
    assert (await nodes.get_node_by_uuid(node.uuid)).data.nodes[0].state == "ready"
    await nodes.wait_nodes(name=["n"], states=["ready"])
    await nodes.wait_node_by_uuid(node.uuid, states=["ready"])
    assert (await nodes.list_regions("aws")).data.regions
    assert (await nodes.list_machine_types("aws", region="eu-central-1")).data.machine_types


async def builds():
    api = Api(BuildsApi, f"{BASE}/build")
    body = build.CreateBuildRequest(
        contexts=build.BuildContexts(context=build.Source(git="https://example.com/app.git")),
        output=[build.BuildOutput(image="index.unikraft.io/tester/built:1")])
    made = await getattr(api.api, "create_build")(body=body)
    assert made.status == "succeeded" and made.result.images[0].digest, made
    assert (await api.api.get_build(made.id)).id == made.id
    assert [one.id for one in (await api.list_builds()).builds] == [made.id]
    await api.api.delete_build(made.id)


def client():
    return UnikraftCloud(token=TOKEN, metro=BASE, trust_env=False,
                         control_plane_url=f"{BASE}/controlplane")


async def idiomatic():
    """The layer that most scripts use."""
    async with client() as ukc:
        web = await ukc.instances.create(image="tester/web:latest", name="chain", autostart=True)
        assert [one.name async for one in ukc.instances.list()] == ["chain"]
        await ukc.instances.get(name="chain").wait(state="running", timeout_seconds=30)
        await ukc.instances.get(name="chain").suspend()
        await ukc.instances.get(name="chain").update(tags=["a"], autokill={"time_ms": 3600000})
        await ukc.instances.get(name="chain").update(autokill=REMOVE)
        edit = ukc.instances.get(name="chain").edit().add(tags=["b"]).delete(tags=["a"])
        await edit.apply()
        assert (await ukc.instances.get(uuid=web.uuid)).tags == ["b"]
        assert await ukc.images.exists("tester/web:latest")
        await ukc.instances.each(tags=["b"]).delete(missing_ok=True)
        template = await ukc.templates.prepare("worker", create_args={"image": "tester/web:latest"})
        assert template.state == "template"
        await ukc.templates.get(name="worker").clone(name="job")
        await ukc.instances.get(name="job").delete(timeout_seconds=5)
        await ukc.templates.get(name="worker").delete()


POLICY = {"name": "busy", "metric": "cpu", "adjustment_type": "percentage",
          "steps": [{"lower_bound": 600, "adjustment": 50}]}


async def make():
    async with client() as ukc:
        await ukc.volumes.create(name="py-data", size_mb=8)
        await ukc.volumes.create(name="py-base", size_mb=8, tags=["base"])
        await ukc.volumes.api.create_template_volume(body=ids("py-base"))
        group = await ukc.services.create(name="py-front", services=[
            {"port": 443, "destination_port": 80, "handlers": ["tls", "http"]}])
        await ukc.instances.create(
            image="tester/web:latest", name="py", tags=["py"], autostart=True,
            plugins=[{"name": "sandbox", "image": "tester/web:latest"}],
            schedules=[{"name": "night", "when": "daily", "action": "stop"}])
        await ukc.certificates.create(name="py-tls", common_name="py.example", chain=CHAIN,
                                      pkey=PKEY)
        await ukc.templates.prepare("py-template", create_args={
            "image": "tester/web:latest", "memory_mb": 32})
        item = m.CreateCheckpointInstancesRequestItem
        await ukc.instances.api.create_checkpoint_instances(body=[
            item(**{"from": m.NameOrUUID(name="py")}, name="py-check", tags=["c"])])
        body = m.CreateAutoscaleConfigurationsRequestConfiguration(
            uuid=group.uuid, min_size=1, max_size=3, policies=[m.AutoscalePolicy(**POLICY)],
            create_args=m.ConfigurationInstanceCreateArgs(
                template=m.NameOrUUID(name="py-template")))
        await Api(AutoscaleApi).create_autoscale_configurations(body=[body])
        pin = m.PinImageRequestItem(url="tester/web:latest", timeout_s=-1)
        print((await ukc.images.api.pin_images(body=[pin])).data.images[0].uuid)


async def see():
    async with client() as ukc:
        one = await ukc.instances.get(name="rs")
        assert (one.state, one.memory_mb, one.tags) == ("running", 64, ["rs"]), one
        assert (one.schedules[0].when, one.schedules[0].action) == ("daily", "stop"), one
        assert (await ukc.volumes.get(name="rs-data")).size_mb == 16
        front = await ukc.services.get(name="rs-front")
        assert front.services[0].port == 443
        assert (await ukc.certificates.get(name="rs-tls")).common_name == "rs.example"
        # Templates, checkpoints and scaling of commands are used and changed.
        assert "rs-template" in [one.name async for one in ukc.templates.list()]
        job = await ukc.templates.get(name="rs-template").clone(name="rs-job")
        assert job.memory_mb == 48, job
        api = ukc.instances.api
        check = (await api.get_checkpoint_instances(name=["rs-check"])).data.instances[0]
        assert (check.state, check.tags) == ("checkpoint", ["before"]), check
        await ukc.instances.create(name="rs-back", checkpoint={"name": "rs-check"})
        assert (await ukc.instances.get(name="rs-back").history())[0].history[0].name == "rs-check"
        edit = m.UpdateCheckpointInstancesRequestItem(name="rs-check", prop="tags", op="add",
                                                      value=["py"])
        await api.update_checkpoint_instances(body=[edit])
        scale = Api(AutoscaleApi)
        how = (await scale.get_autoscale_configurations(name=["rs-front"])).data.service_groups[0]
        assert (how.template.name, how.max_size) == ("rs-template", 5), how
        assert (how.policies[0].name, how.policies[0].adjustment_type) == ("cpu", "percentage"), how
        await scale.delete_autoscale_configuration_policy_by_name(front.uuid, "cpu")
        base = (await ukc.volumes.api.get_template_volumes(name=["rs-base"])).data.volumes[0]
        assert base.tags == ["rs"], base
        await ukc.volumes.create(name="rs-copy", template={"name": "rs-base"})
        images = (await ukc.images.api.get_images(tag="tester/web:latest")).data.images
        assert images[0].persistent, images
        # What `make` made, and commands changed.
        py = await ukc.instances.get(name="py")
        assert (py.state, py.tags, py.schedules) == ("stopped", ["py", "seen"], None), py
        assert (await ukc.volumes.get(name="py-data")).size_mb == 9
        assert (await ukc.services.get(name="py-front")).soft_limit == 2
        group = (await ukc.services.get(name="py-front")).uuid
        policies = (await scale.get_autoscale_configuration_policies(group)).data.policies
        assert [one.policy.name for one in policies] == ["more"], policies
        check = (await api.get_checkpoint_instances(name=["py-check"])).data.instances
        assert check[0].error == 8, check
        await ukc.instances.get(name="rs").delete()


async def main():
    if STEP == "make":
        await make()
    elif STEP == "see":
        await see()
    else:
        for part in [rest, certificates, volumes, services, instances, control_plane, builds,
                     idiomatic]:
            await part()
        print("\n".join(sorted(done)))


asyncio.run(main())
