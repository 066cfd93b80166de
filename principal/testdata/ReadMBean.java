// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

import com.sun.tools.attach.VirtualMachine;
import java.util.TreeMap;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Prints the attributes, name=value, of the MBeans that a pattern names in the JVM with a process id. */
public final class ReadMBean {
  private ReadMBean() {}

  public static void main(String[] args) throws Exception {
    VirtualMachine machine = VirtualMachine.attach(args[0]);
    try (var connector = JMXConnectorFactory.connect(new JMXServiceURL(machine.startLocalManagementAgent()))) {
      MBeanServerConnection server = connector.getMBeanServerConnection();
      for (ObjectName name : server.queryNames(new ObjectName(args[1]), null)) {
        TreeMap<String, Object> values = new TreeMap<>();
        for (MBeanAttributeInfo attribute : server.getMBeanInfo(name).getAttributes()) {
          values.put(attribute.getName(), server.getAttribute(name, attribute.getName()));
        }
        values.forEach((key, value) -> System.out.println(key + "=" + value));
      }
    } finally {
      machine.detach();
    }
  }
}
