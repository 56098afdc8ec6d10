package vadev;

import com.alibaba.nacos.console.NacosConsole;
import com.alibaba.nacos.core.listener.startup.NacosStartUp;
import com.alibaba.nacos.core.listener.startup.NacosStartUpManager;
import com.alibaba.nacos.core.web.NacosWebBean;
import com.alibaba.nacos.sys.env.DeploymentType;
import com.alibaba.nacos.sys.env.EnvUtil;
import com.alibaba.nacos.sys.filter.NacosTypeExcludeFilter;
import java.util.List;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.ldap.LdapAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.ComponentScan.Filter;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.FilterType;
import org.springframework.context.annotation.PropertySource;
import org.springframework.core.type.classreading.MetadataReader;
import org.springframework.core.type.classreading.MetadataReaderFactory;
import org.springframework.core.type.filter.TypeFilter;
import org.springframework.scheduling.annotation.EnableScheduling;
import org.springframework.stereotype.Controller;
import org.springframework.web.bind.annotation.ControllerAdvice;
import org.springframework.web.bind.annotation.RestController;

/**
 * Starts Nacos in one process: the modules are on Maven Central, the program that puts them together is not.
 * The server's beans form a core context; the API on 8848 and the console on 8080 are two web contexts below it.
 */
public final class Launcher {
    private Launcher() { }

    public static void main(String[] args) {
        EnvUtil.setDeploymentType(DeploymentType.MERGED);
        NacosStartUpManager.start(NacosStartUp.CORE_START_UP_PHASE);
        var core = new SpringApplicationBuilder(Core.class).web(WebApplicationType.NONE).run(args);
        NacosStartUpManager.start(NacosStartUp.WEB_START_UP_PHASE);
        new SpringApplicationBuilder(ServerApi.class).parent(core).run(args);
        NacosStartUpManager.start(NacosStartUp.CONSOLE_START_UP_PHASE);
        new SpringApplicationBuilder(NacosConsole.class).parent(core).run(args);
    }

    /** Everything that serves no web request. */
    @Configuration
    @EnableAutoConfiguration(exclude = LdapAutoConfiguration.class)
    @EnableScheduling
    @ComponentScan(basePackages = "com.alibaba.nacos", excludeFilters = {
        @Filter(type = FilterType.CUSTOM, classes = {NacosTypeExcludeFilter.class, WebBeans.class}),
        @Filter(type = FilterType.REGEX, pattern = "com\\.alibaba\\.nacos\\.console\\..*")})
    public static class Core { }

    /** The controllers and filters of the API, without the console's. */
    @Configuration
    @EnableAutoConfiguration(exclude = LdapAutoConfiguration.class)
    @ComponentScan(basePackages = "com.alibaba.nacos", excludeFilters = {
        @Filter(type = FilterType.CUSTOM, classes = {NacosTypeExcludeFilter.class, OtherBeans.class}),
        @Filter(type = FilterType.REGEX, pattern = "com\\.alibaba\\.nacos\\.console\\..*")})
    @PropertySource("classpath:server-api.properties")
    public static class ServerApi { }

    /** Matches the beans that serve web requests. */
    public static class WebBeans implements TypeFilter {
        private static final List<Class<?>> MARKS =
            List.of(RestController.class, ControllerAdvice.class, Controller.class, NacosWebBean.class);

        @Override
        public boolean match(MetadataReader reader, MetadataReaderFactory factory) {
            return MARKS.stream().anyMatch(mark -> reader.getAnnotationMetadata().hasAnnotation(mark.getName()));
        }
    }

    /** Matches the rest. */
    public static class OtherBeans extends WebBeans {
        @Override
        public boolean match(MetadataReader reader, MetadataReaderFactory factory) {
            return !super.match(reader, factory);
        }
    }
}
