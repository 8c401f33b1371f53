# From a configuration to a kernel: libraries register themselves, their sources are compiled.

UK_NAME := $(call qstrip,$(or $(CONFIG_UK_NAME),$(N)))
ARCH := $(if $(CONFIG_ARCH_ARM_64),arm64,x86_64)
VMM := $(if $(CONFIG_KVM_VMM_FIRECRACKER),fc,$(if $(CONFIG_KVM_VMM_QEMU),qemu,kvm))
HOSTARCH := $(patsubst aarch64,arm64,$(shell uname -m))
ifeq ($(CROSS_COMPILE),)
ifneq ($(ARCH),$(HOSTARCH))
CROSS_COMPILE := $(if $(filter arm64,$(ARCH)),aarch64-linux-gnu-,x86_64-linux-gnu-)
endif
endif
CC := $(CROSS_COMPILE)gcc
LD := $(CROSS_COMPILE)ld
OBJCOPY := $(CROSS_COMPILE)objcopy
STRIP := $(CROSS_COMPILE)strip
WGET := wget -q

CONFIG_H := $(BUILD_DIR)/include/uk/bits/config.h

# --- who takes part -----------------------------------------------------------------------------

UK_LIBS :=
UK_LIBS-y :=
CFLAGS-y :=
CINCLUDES-y :=
# addlib NAME, addlib_s NAME,CONFIG: called by the Makefile.uk of whoever has something to compile.
define addlib
UK_LIBS-y += $(1)
$(call uc,$(1))_BASE := $(BASE)
endef
define addlib_s
UK_LIBS-$(2) += $(1)
$(call uc,$(1))_BASE := $(BASE)
endef
# fetch NAME,URL: where the archive is that a library is made of; it appears in NAME_ORIGIN.
define fetch
$(call uc,$(1))_URL := $(2)
$(call uc,$(1))_ORIGIN := $(BUILD_DIR)/$(1)/origin
endef
define import
BASE := $(1)
include $(1)/Makefile.uk
endef
$(foreach I,$(CORE)/lib/mini $(CORE)/lib/posix-environ $(CORE)/lib/vfscore $(CORE)/lib/net $(APP_BASE) $(LIBRARIES),$(eval $(call import,$(I))))
LIBS := $(strip $(UK_LIBS) $(UK_LIBS-y))

# --- what they are compiled with ----------------------------------------------------------------

# The same kernel from every place: a path in the code is one below these names. Debug information
# keeps the true ones.
PLACES := -fmacro-prefix-map=$(CORE)=core -fmacro-prefix-map=$(APP_BASE)=app -fmacro-prefix-map=$(BUILD_DIR)=build \
	$(foreach I,$(LIBRARIES),-fmacro-prefix-map=$(I)=$(notdir $(I)))
CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -ffreestanding -fno-pic -fno-pie -fno-builtin \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns \
	$(PLACES) -include $(CONFIG_H) -I$(CORE)/lib/mini -I$(BUILD_DIR)/include
ifeq ($(ARCH),x86_64)
CFLAGS += -m64 -mno-red-zone -mcmodel=small -mgeneral-regs-only
else
CFLAGS += -mgeneral-regs-only -mstrict-align -mcmodel=small
endif
LDFLAGS := -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-z,max-page-size=4096

# --- objects ------------------------------------------------------------------------------------

# A source may name a variant behind a bar, as Unikraft's do; here all variants are alike.
srcs = $(foreach S,$($(call uc,$(1))_SRCS) $($(call uc,$(1))_SRCS-y),$(firstword $(subst |, ,$(S))))
object = $(BUILD_DIR)/$(1)/$(basename $(notdir $(2))).o
define compile
$(call object,$(1),$(2)): $(2) $(CONFIG_H) $($(call uc,$(1))_BASE)/Makefile.uk | $(BUILD_DIR)/$(1)/.made fetch
	$$(call say,$(if $(filter %.S,$(2)),AS,CC),$(1): $(notdir $(call object,$(1),$(2)))) $(CC) $(CFLAGS) $(CFLAGS-y) $(CINCLUDES-y) $($(call uc,$(1))_CFLAGS) $($(call uc,$(1))_CFLAGS-y) $($(call uc,$(1))_CINCLUDES-y) -MMD -MP -MF $$@.d -c $(2) -o $$@
$(call uc,$(1))_OBJS-y += $(call object,$(1),$(2))
-include $(call object,$(1),$(2)).d
endef
define library
$(foreach S,$(call srcs,$(1)),$(eval $(call compile,$(1),$(S))))
$(call compile_info,$(1))
$(BUILD_DIR)/$(1).o: $$($(call uc,$(1))_OBJS-y)
	$$(call say,LD,$(1).o) $(LD) -r -o $$@ $$^
$(BUILD_DIR)/$(1)/.made:
	@mkdir -p $$(@D) && touch $$@
UK_OLIBS-y += $(BUILD_DIR)/$(1).o
endef
# What each library is, where `kraft x probe` finds it.
define compile_info
$(BUILD_DIR)/$(1)/libinfo.o: $(CORE)/libinfo.S $(CONFIG_H) | $(BUILD_DIR)/$(1)/.made
	$$(call say,AS,$(1): libinfo.o) $(CC) $(CFLAGS) -DLIBNAME='"$(1)"' -DLIBVERSION='"$(or $($(call uc,$(1))_VERSION),$(UK_FULLVERSION))"' -DLIBLICENSE='"$(or $($(call uc,$(1))_LICENSE),BSD-3-Clause)"' -DCOMPILER='"gcc $(CC_VERSION)"' $(if $(filter libmini,$(1)),-DOF_CORE) -c $$< -o $$@
$(call uc,$(1))_OBJS-y += $(BUILD_DIR)/$(1)/libinfo.o
endef
CC_VERSION := $(shell $(CC) -dumpfullversion 2>/dev/null)
UK_OLIBS-y :=
$(foreach I,$(LIBS),$(eval $(call library,$(I))))

# --- what the configuration becomes -------------------------------------------------------------

$(CONFIG_H): $(C)
	@mkdir -p $(@D)
	@awk -F= '/^CONFIG_/ && $$1 !~ /^CONFIG_UK_(APP|BASE)$$/ { v = substr($$0, length($$1) + 2); print "#define " $$1 " " (v == "y" ? "1" : v) }' $(C) > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else printf '  %-7s %s\n' GEN config.h; mv $@.new $@; fi

# --- fetching -----------------------------------------------------------------------------------

# A library with LIBX_URL gets that archive unpacked into its build directory, where it may have sources.
.PHONY: fetch prepare all images libs objs clean print-libs print-objs print-srcs
define upstream
fetch: $(BUILD_DIR)/$(1)/.origin
$(BUILD_DIR)/$(1)/$(notdir $(2)): | $(BUILD_DIR)/$(1)/.made
	$$(call say,WGET,$(1): $(2)) $(WGET) -O $$@ '$(2)' || rm -f $$@
$(BUILD_DIR)/$(1)/.origin: $(BUILD_DIR)/$(1)/$(notdir $(2))
	$$(call say,UNTAR,$(1): $(notdir $(2))) mkdir -p $(BUILD_DIR)/$(1)/origin && tar -xzf $$< -C $(BUILD_DIR)/$(1)/origin && touch $$@
$(BUILD_DIR)/$(1)/origin/%: | $(BUILD_DIR)/$(1)/.origin ;
endef
$(foreach I,$(LIBS),$(if $($(call uc,$(I))_URL),$(eval $(call upstream,$(I),$($(call uc,$(I))_URL)))))
fetch:
prepare: fetch $(CONFIG_H)

# --- kernels ------------------------------------------------------------------------------------

IMAGE := $(BUILD_DIR)/$(or $(UK_IMAGE_NAME_OVERWRITE),$(N)_$(VMM)-$(ARCH))
UK_IMAGES :=
UK_DEBUG_IMAGES :=
UK_IMAGES-y += $(IMAGE)
UK_DEBUG_IMAGES-y += $(IMAGE).dbg
LINK := $(CORE)/lib/mini/arch/$(ARCH)/$(if $(filter x86_64-fc,$(ARCH)-$(VMM)),pvh,link).ld
libs: $(UK_OLIBS-y)
objs: libs
# Other targets share the directory: whose configuration was last decides what the objects are.
$(IMAGE).dbg: $(UK_OLIBS-y) $(LINK)
	$(call say,LD,$(notdir $@)) $(CC) $(LDFLAGS) -T $(LINK) -o $@ $(UK_OLIBS-y)
$(IMAGE): $(IMAGE).dbg
ifeq ($(ARCH),arm64)
	$(call say,OBJCOPY,$(notdir $@)) $(OBJCOPY) -O binary $< $@
else ifeq ($(VMM),fc)
	$(call say,STRIP,$(notdir $@)) $(STRIP) -o $@ $<
else
	$(call say,OBJCOPY,$(notdir $@)) $(OBJCOPY) --strip-all -O elf32-i386 $< $@
endif
images: $(UK_DEBUG_IMAGES-y) $(UK_IMAGES-y)
all: images

clean:
	$(call say,CLEAN,build/) rm -rf $(foreach I,$(LIBS),$(BUILD_DIR)/$(I) $(BUILD_DIR)/$(I).o) $(UK_IMAGES-y) $(UK_DEBUG_IMAGES-y) $(BUILD_DIR)/include

print-libs:
	@echo $(LIBS)
print-objs:
	@$(foreach I,$(LIBS),echo ' $(I):'; echo '    $($(call uc,$(I))_OBJS-y)';)
print-srcs:
	@$(foreach I,$(LIBS),echo ' $(I):'; echo '    $(call srcs,$(I))';)
